import { spawn, spawnSync } from 'node:child_process'

/** One shell for all commands of a document: variables and folders last from one to the next. */
export interface Shell {
  /** Runs a command; returns what it printed, stdout first. Throws with all of it when the command fails. */
  run(command: string): Promise<string>
  end(): Promise<void>
}

/** How long one command may take (ms). */
const COMMAND_MS = 120_000

/** Starts a shell; the caller ends it. */
export function startShell(cwd: string, env: Readonly<Record<string, string>>): Shell {
  const child = spawn('bash', ['--norc'], { cwd, env, stdio: 'pipe', detached: true })
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
  let stdout = ''
  let stderr = ''
  let onOutput: (() => void) | undefined
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    onOutput?.()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (stderr += text))
  child.stdin.on('error', () => undefined)
  // A line that starts with this is no command's own.
  const mark = `\u0001over-${child.pid}`

  function kill(signal: NodeJS.Signals): void {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    process.kill(-child.pid, signal)
  }

  return {
    async run(command) {
      stdout = ''
      stderr = ''
      const over = new Promise<string>((resolve) => {
        onOutput = () => {
          const status = new RegExp(`${mark} (\\d+)\n`).exec(stdout)?.[1]
          if (status !== undefined) resolve(status)
        }
      })
      const late = setTimeout(() => kill('SIGKILL'), COMMAND_MS)
      child.stdin.write(`{ ${command}\n} </dev/null\nprintf '${mark} %s\\n' $?\n`)
      const status = await Promise.race([over, closed])
      clearTimeout(late)
      const printed = stdout.slice(0, status === undefined ? undefined : stdout.lastIndexOf(mark))
      if (status === '0') return printed + stderr
      const how =
        status === undefined ? `took the shell with it or more than ${COMMAND_MS} ms` : `ended with ${status}`
      throw new Error(`${command}\n${how}:\n${printed}\n${stderr}`)
    },
    async end() {
      child.stdin.end()
      kill('SIGTERM')
      const late = setTimeout(() => kill('SIGKILL'), 5000)
      await closed
      clearTimeout(late)
    },
  }
}

/** A script's commands one by one, without comments; what goes over several lines stays one. */
export function splitCommands(script: string): string[] {
  const commands: string[] = []
  let command = ''
  for (const line of script.split('\n')) {
    if (command === '' && /^\s*(#|$)/.test(line)) continue
    command += `${line}\n`
    if (command.endsWith('\\\n') || !isWhole(command)) continue
    commands.push(command.trim())
    command = ''
  }
  if (command !== '') throw new Error(`a script that does not end: ${command}`)
  return commands
}

function isWhole(command: string): boolean {
  const { status, stderr } = spawnSync('bash', ['-n'], { input: command, encoding: 'utf8' })
  // A here-document that is not over is a warning only.
  return status === 0 && stderr === ''
}
