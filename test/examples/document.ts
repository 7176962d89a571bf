import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { must, tool } from '../ops/run.ts'
import { installCommand, installPackages, makeCheckout, makeRepository, shellEnv } from './checkout.ts'
import { checkJson } from './json-kinds.ts'
import { checkOutput } from './output.ts'
import { createPorts } from './ports.ts'
import type { Ports } from './ports.ts'
import { startProgram } from './program.ts'
import type { Program } from './program.ts'
import { GATEWAY, NOT_RUN, SERVICES, WORKER } from './services.ts'
import { splitCommands, startShell } from './shell.ts'
import type { Shell } from './shell.ts'
import { extractSnippets } from './snippets.ts'
import type { Snippet } from './snippets.ts'
import { ROOT, makeProject } from './stage.ts'

/** How long a service may take to start (ms). */
const SERVICE_MS = 120_000

/** Where a document's code runs. */
export interface DocumentStage {
  readonly redisUrl: string
  /** Empty at first. */
  readonly dir: string
  /** In the place of what the file holds. */
  readonly markdown?: string | undefined
  /** Uses a program of the document that goes on until it is ended; told by a text that is in its code. */
  readonly uses?: Readonly<Record<string, (ports: Ports) => Promise<void>>> | undefined
}

interface Running extends DocumentStage {
  readonly checkout: string
  readonly project: string
  readonly ports: Ports
  readonly shell: Shell
  readonly programs: Program[]
  /** The commands of those of them that came from a shell. */
  readonly services: string[]
  /** What the commands of the last shell block have printed. */
  readonly printed: string[]
  /** The id of the replica of pool `p`, if the document has a name for it. */
  readonly replicaId: string | undefined
  readonly env: Readonly<Record<string, string>>
}

/**
 * Does all that a document tells to do, in its order, as a reader would: shell blocks in one shell of a fresh checkout,
 * programs in the folder of a user of the package. A `text` block is what the shell block before it prints. Pool `p`, and a
 * gateway, run where a block needs them. Fails for a block that it has no way to run. Everything that was started has ended
 * after it.
 */
export async function runDocument(file: string, stage: DocumentStage): Promise<readonly Snippet[]> {
  const markdown = stage.markdown ?? (await readFile(join(ROOT, file), 'utf8'))
  const snippets = extractSnippets(file, markdown)
  const [checkout, project] = [join(stage.dir, 'checkout'), join(stage.dir, 'project')]
  await makeCheckout(checkout)
  await makeProject(project)
  const commands = join(stage.dir, 'commands')
  await installCommand(commands, checkout)
  const ports = createPorts(stage.redisUrl)
  await rewriteFiles(join(checkout, 'examples'), ports)
  if (markdown.includes('git clone ')) await makeRepository(checkout)
  const env = {
    ...shellEnv(checkout, stage.redisUrl, commands),
    TGI_POOL_GATEWAY_PORT: await ports.of('8700'),
    TGI_POOL_METRICS_PORT: await ports.of('9464'),
  }
  const shell = startShell(checkout, env)
  const programs: Program[] = []
  const replicaId = /drain (gpu-\d)\b/.exec(markdown)?.[1]
  const places = { checkout, project, ports, shell, env, replicaId }
  const running = { ...stage, ...places, programs, services: [], printed: [] }
  try {
    for (const snippet of snippets) await runSnippet(snippet, running)
  } finally {
    await Promise.all(programs.map((program) => program.end()))
    await shell.end()
  }
  return snippets
}

/** Puts the test's ports into the examples' code, as a reader does who has others. */
async function rewriteFiles(folder: string, ports: Ports): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) await writeFile(path, await ports.rewrite(await readFile(path, 'utf8')))
  }
}

async function runSnippet(snippet: Snippet, running: Running): Promise<void> {
  const { file, line, lang, code } = snippet
  try {
    // Of a shell's block, only the command is excused.
    if (lang !== 'sh' && isExcused(file, code)) return
    if (lang === 'sh') await runCommands(snippet, running)
    else if (lang === 'text') checkOutput(running.printed.join(''), code)
    // Nothing runs it.
    else if (lang === 'text diagram') return
    else if (lang === 'json' || lang === 'jsonl') await checkJson(code)
    else if (lang === 'ts' || lang === 'js' || lang === 'python') await runProgram(snippet, running)
    else throw new Error(`no way is known to run ${lang === '' ? 'a block without a language' : lang}`)
  } catch (cause) {
    throw new Error(`${file}:${line}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

function isExcused(file: string, code: string): boolean {
  return NOT_RUN.some((excuse) => excuse.file === file && code.includes(excuse.text))
}

async function runCommands({ file, code }: Snippet, running: Running): Promise<void> {
  const { ports, shell, printed } = running
  printed.length = 0
  for (const written of splitCommands(code)) {
    if (isExcused(file, written)) continue
    const command = await ports.rewrite(written)
    if (SERVICES.some((service) => service.command.test(command))) {
      await startService(command, running)
      continue
    }
    if (/--pool p\b|"pool":"p"/.test(command)) await servePool(running)
    printed.push(await shell.run(command))
    if (/^(git clone|cd) /.test(command)) await installPackages(await folderOf(shell))
  }
}

async function folderOf(shell: Shell): Promise<string> {
  return (await shell.run('pwd')).trim()
}

async function startService(command: string, running: Running): Promise<void> {
  const service = SERVICES.find((other) => other.command.test(command))
  if (service === undefined) throw new Error(`not a service: ${command}`)
  const program = startProgram('bash', ['-c', command], {
    cwd: await folderOf(running.shell),
    env: running.env,
  })
  running.programs.push(program)
  running.services.push(command)
  const late = setTimeout(() => program.kill('SIGKILL'), SERVICE_MS)
  const where = await Promise.any([
    program.printed(service.sign).then(() => program.stdout),
    program.printed(service.sign, 'stderr').then(() => program.stderr),
  ]).catch(() => {
    throw new Error(`${command}\nended without ${service.sign}:\n${program.stdout}\n${program.stderr}`)
  })
  clearTimeout(late)
  const port = service.sign.exec(where)?.[1]
  if (service.port !== undefined && port !== undefined) running.ports.set(service.port, port)
}

/** Checks the types of a program and runs it, on a pool that is served; one in Python, by HTTP. */
async function runProgram({ lang, line, code }: Snippet, running: Running): Promise<void> {
  const { project, ports, printed } = running
  const folder = join(project, 'snippets')
  const path = join(folder, `line-${line}.${lang}`)
  await mkdir(folder, { recursive: true })
  await writeFile(path, await ports.rewrite(code))
  if (lang === 'ts') await checkTypes(project, path)
  await servePool(running)
  if (lang === 'python') await serveGateway(running)
  const program = startProgram(lang === 'python' ? 'python3' : process.execPath, [path], {
    cwd: project,
    env: { PATH: running.env['PATH'] ?? '', REDIS_URL: running.redisUrl },
  })
  running.programs.push(program)
  const use = Object.entries(running.uses ?? {}).find(([text]) => code.includes(text))?.[1]
  if (use === undefined) {
    if ((await program.over) !== 0) throw new Error(`it failed:\n${program.stdout}\n${program.stderr}`)
    printed.splice(0, Infinity, program.stdout)
    return
  }
  await use(ports)
  await program.end()
  expect(program.stderr).toBe('')
}

/** As a strict user of the package has it; what a snippet shows need not be used in it. */
async function checkTypes(project: string, path: string): Promise<void> {
  const config = join(project, 'tsconfig.json')
  const compilerOptions = {
    noUnusedLocals: false,
    allowJs: false,
    typeRoots: [join(project, 'node_modules/@types')],
  }
  await writeFile(
    config,
    JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, include: [path] }),
  )
  await must(tool('tsc'), ['-p', config], { cwd: project })
}

/** Snippets are about pool `p`; where their document has not started a worker for it, this does. */
async function servePool(running: Running): Promise<void> {
  if (running.services.some((command) => WORKER.test(command) && /--pool p\b/.test(command))) return
  const id = running.replicaId === undefined ? '' : ` --replica-id ${running.replicaId}`
  for (const command of [
    'tgi-pool simulator --port 8080',
    `tgi-pool worker --pool p --replica http://127.0.0.1:8080 --slots 4${id}`,
  ])
    await startService(await running.ports.rewrite(command), running)
}

async function serveGateway(running: Running): Promise<void> {
  if (running.services.some((command) => GATEWAY.test(command))) return
  await startService('tgi-pool gateway', running)
}
