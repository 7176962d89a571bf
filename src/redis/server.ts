import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PoolError } from '../contract/error.ts'
import { connectToServer } from './connect.ts'

/** The programs we can run, in order of preference. */
const BINARIES = ['valkey-server', 'redis-server'] as const

/** A server that this process started, for a demo or a test. */
export interface RedisServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Ends the server and removes its folder. Idempotent. */
  stop(): Promise<void>
}

/** How the server runs. */
export interface RedisServerOptions {
  /** @defaultValue a free port */
  readonly port?: number | undefined
  /** Keep data across restarts in this folder (append-only file). @defaultValue nothing is kept */
  readonly dir?: string | undefined
  /** Further lines of configuration. */
  readonly args?: readonly string[] | undefined
}

/**
 * Starts a real `valkey-server` or `redis-server` (see {@link findRedisBinary}) on loopback and resolves when it answers.
 *
 * @throws {@link PoolError} `CONFIG` when neither is installed or it does not start.
 */
export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  const binary = findRedisBinary()
  // A port that was free a moment ago may be taken by the time the server binds it; then another one is tried.
  for (let tries = 1; ; tries += 1) {
    const port = options.port ?? (await freePort())
    const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'tgi-pool-redis-')))
    const child = spawn(binary, serverArgs(port, dir, options), { stdio: 'ignore' })
    const stop = stopper(child, options.dir === undefined ? dir : undefined)
    const failure = await waitUntilUp(child, port)
    if (failure === undefined) {
      return { url: `redis://127.0.0.1:${port}`, port, pid: child.pid ?? 0, stop }
    }
    await stop()
    if (options.port !== undefined || tries >= 5) {
      throw new PoolError('CONFIG', `${binary} did not start on port ${port}: ${failure}`)
    }
  }
}

/**
 * The server program that `REDIS_SERVER` names, else the first on the PATH. The variable is read here, since every test,
 * bench and demo starts its servers with this function.
 *
 * @throws {@link PoolError} `CONFIG` when there is none; the message says what to install.
 */
export function findRedisBinary(): string {
  const named = process.env['REDIS_SERVER']
  for (const name of named ? [named] : BINARIES) {
    if (spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0) return name
  }
  if (named) throw new PoolError('CONFIG', `REDIS_SERVER: expected a server program, got ${named}`)
  throw new PoolError(
    'CONFIG',
    'no valkey-server or redis-server on the PATH: install one (Debian, Ubuntu: apt-get install redis-server; macOS: brew install valkey) or give REDIS_URL',
  )
}

function serverArgs(port: number, dir: string, options: RedisServerOptions): string[] {
  const keep = options.dir !== undefined
  const listen = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir]
  const persist = ['--save', '', '--appendonly', keep ? 'yes' : 'no', '--appendfsync', 'everysec']
  const behave = ['--maxmemory-policy', 'noeviction', '--daemonize', 'no']
  return [...listen, ...persist, ...behave, ...(options.args ?? [])]
}

async function waitUntilUp(child: ChildProcess, port: number): Promise<string | undefined> {
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code) => resolve(`exited with ${code}`))
    child.once('error', (error) => resolve(error.message))
  })
  const deadline = performance.now() + 10_000
  while (performance.now() < deadline) {
    const result = await Promise.race([exited, answers(port)])
    if (typeof result === 'string') return result
    if (result) return undefined
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return 'no answer within 10 s'
}

async function answers(port: number): Promise<boolean> {
  try {
    const redis = await connectToServer(`redis://127.0.0.1:${port}`, {
      role: 'commands',
      connectTimeoutMs: 500,
    })
    redis.disconnect()
    return true
  } catch {
    return false
  }
}

function stopper(child: ChildProcess, tempDir: string | undefined): () => Promise<void> {
  let stopped: Promise<void> | undefined
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      const exited = new Promise((resolve) => child.once('exit', resolve))
      // A test may have frozen it; and what it holds is thrown away or in its append-only file.
      child.kill('SIGCONT')
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), 2000)
      await exited
      clearTimeout(timer)
    }
    if (tempDir !== undefined) await rm(tempDir, { recursive: true, force: true })
  }
  return () => (stopped ??= stop())
}

/** A TCP port on loopback that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
