import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { openPool } from '../../src/client/pools.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import { IMAGE_FLAGS } from '../support/weighed-process.ts'

/** The product under load, and what it runs on. */
export interface Stage extends AsyncDisposable {
  readonly gatewayUrl: string
  /** Process ids by name. */
  readonly processes: Readonly<Record<string, number>>
  /** Connections that Redis holds, ours that asks included. */
  connections(): Promise<number>
}

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname
const RETENTION_MS = 30_000

/** Starts all of it; resolves when the worker has its replica. */
export async function startStage(streams: number): Promise<Stage> {
  const undo: (() => Promise<unknown>)[] = []
  const release = async () => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
  }
  try {
    const server = await startRedisServer()
    undo.push(() => server.stop())
    const redis = await connectToServer(server.url, { role: 'commands' })
    undo.push(async () => redis.disconnect())
    const command = async (args: readonly string[], ready: RegExp) => {
      const child = spawn(process.execPath, [MAIN, ...args], {
        env: {
          ...process.env,
          NODE_OPTIONS: IMAGE_FLAGS.join(' '),
          REDIS_URL: server.url,
          LOG_LEVEL: 'info',
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      undo.push(() => end(child))
      return { pid: child.pid ?? 0, said: await waitFor(child, ready) }
    }
    const simulator = await command(['simulator', '--port', '0'], /(http:\/\/127\.0\.0\.1:\d+)/)
    const pool = await openPool({ redisUrl: server.url, pool: 'soak' })
    undo.push(() => pool.close())
    await pool.create({ retention_ms: RETENTION_MS })
    const replica = ['--pool', 'soak', '--replica', simulator.said, '--slots', String(streams)]
    const worker = await command(['worker', ...replica], /worker started/)
    const gateway = await command(['gateway', '--port', '0'], /(http:\/\/127\.0\.0\.1:\d+)/)
    const metrics = await command(['metrics', '--port', '0'], /(http:\/\/127\.0\.0\.1:\d+)/)
    while ((await pool.replicas())[0]?.state !== 'ready') await sleep(50)
    return {
      gatewayUrl: gateway.said,
      processes: { worker: worker.pid, gateway: gateway.pid, metrics: metrics.pid, redis: server.pid },
      connections: async () =>
        String(await redis.client('LIST'))
          .trim()
          .split('\n').length,
      [Symbol.asyncDispose]: release,
    }
  } catch (error) {
    await release()
    throw error
  }
}

/** Waits until a command says something; what the expression takes out of it. */
async function waitFor(child: ChildProcess, ready: RegExp): Promise<string> {
  let output = ''
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const listen = (text: string) => {
    // What it says later is read, too, or it would stop when the pipe is full.
    if (output.length > 65_536) return
    output += text
    const found = ready.exec(output)
    if (found !== null) resolve(found[1] ?? found[0])
  }
  child.stdout?.setEncoding('utf8').on('data', listen)
  child.stderr?.setEncoding('utf8').on('data', listen)
  child.once('exit', () => reject(new Error(`a command ended early:\n${output}`)))
  return promise
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000)
  await gone
  clearTimeout(timer)
}
