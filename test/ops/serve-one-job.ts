import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { startRedisServer } from '../../src/redis/server.ts'
import { run } from './run.ts'

/** What was built, and who runs it. */
export interface Built {
  readonly cwd: string
  /** The folder of the built files, from `cwd`. */
  readonly root: string
  /** The user and group that run it. @defaultValue who runs the test */
  readonly uid?: number | undefined
}

/**
 * Starts a simulator and a worker of what was built, as a container does, and generates from one prompt on a real
 * Redis; answers the text. Everything that was started has ended after it.
 */
export async function serveOneJob({ cwd, root, uid }: Built): Promise<string> {
  const redis = await startRedisServer()
  const children: ChildProcess[] = []
  const start = (args: readonly string[], env: Record<string, string>, sign: RegExp) =>
    new Promise<string>((resolve, reject) => {
      let said = ''
      const child = spawn(process.execPath, args, {
        cwd,
        env: { PATH: process.env['PATH'], ...env },
        stdio: ['ignore', 'ignore', 'pipe'],
        ...(uid === undefined ? {} : { uid, gid: uid }),
      })
      children.push(child)
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text
        const found = sign.exec(said)
        if (found !== null) resolve(found[1] ?? '')
      })
      child.once('error', reject)
      child.once('exit', (code) => reject(new Error(`${args.join(' ')} ended with ${code}: ${said}`)))
    })
  try {
    const env = { REDIS_URL: redis.url, TGI_POOL: 'p' }
    const main = `${root}/src/cli/main.js`
    const url = await start([main, 'simulator', '--port', '0'], {}, /at (http:\/\/[\d.:]+);/)
    await start([`${root}/workers/generate.js`], { ...env, TGI_REPLICA: url }, /worker started/)
    const { status, stdout, stderr } = await run(
      process.execPath,
      [main, 'generate', 'hello', '--max-new-tokens', '5'],
      { cwd, env },
    )
    if (status !== 0) throw new Error(`generate ended with ${status}: ${stderr}`)
    return stdout.trim()
  } finally {
    await Promise.all(children.map(end))
    await redis.stop()
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await ended
  clearTimeout(late)
}
