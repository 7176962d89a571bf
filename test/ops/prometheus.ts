/** Needs `prometheus` and `promtool` (Debian, Ubuntu: apt-get install prometheus). */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { freePort } from '../../src/redis/server.ts'
import { test as base } from '../metrics/stage.ts'
import type { Lab } from '../support/lab.ts'

const RULES = fileURLToPath(new URL('../../ops/alerts.yml', import.meta.url))
const METRICS = fileURLToPath(new URL('../../workers/metrics.ts', import.meta.url))
/** The configuration of ops/. */
export const CONFIG = fileURLToPath(new URL('../../ops/prometheus.yml', import.meta.url))

/** Not npm's: knip must not look for them there. */
export const PROGRAMS = { prometheus: 'prometheus', promtool: 'promtool' } as const

/** Processes of one test, in a folder of its own. */
export interface Ops {
  readonly dir: string
  /** Starts a program; it is ended after the test. */
  start(program: string, args: readonly string[], env?: Readonly<Record<string, string>>): void
}

/** `test` with `ops`. */
export const test = base.extend('ops', async ({}, { onCleanup }): Promise<Ops> => {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-ops-'))
  const children: ChildProcess[] = []
  onCleanup(async () => {
    await Promise.all(children.map(end))
    await rm(dir, { recursive: true, force: true })
  })
  return {
    dir,
    start(program, args, env = {}) {
      const child = spawn(program, args, { stdio: 'ignore', env: { PATH: process.env['PATH'], ...env } })
      // What is missing shows when nothing answers.
      child.on('error', () => undefined)
      children.push(child)
    },
  }
})

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await gone
  clearTimeout(late)
}

/** The body of an answer; '' without one. */
export async function get(url: string): Promise<string> {
  try {
    return await (await fetch(url, { headers: { connection: 'close' } })).text()
  } catch {
    return ''
  }
}

/** One series as Prometheus has it. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

/** Asks Prometheus. */
export async function query(port: number, expression: string): Promise<readonly Series[]> {
  const text = await get(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expression)}`)
  if (text === '') return []
  return (JSON.parse(text) as { data?: { result?: Series[] } }).data?.result ?? []
}

/** A metrics process; answers its port. */
export async function startMetrics(
  lab: Lab,
  ops: Ops,
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  const port = await freePort()
  ops.start(process.execPath, [METRICS], {
    REDIS_URL: lab.redisUrl,
    TGI_POOL_METRICS_PORT: String(port),
    ...env,
  })
  await expect.poll(() => get(`http://127.0.0.1:${port}/readyz`)).toContain('ready')
  return port
}

/**
 * A Prometheus with the configuration and the alerts of ops/, but quicker: no alert waits. Answers its port.
 *
 * @param keyed whether it sends the key in the file that the configuration proposes.
 */
export async function startPrometheus(ops: Ops, port: number, keyed = false): Promise<number> {
  const web = await freePort()
  const config = (await readFile(CONFIG, 'utf8'))
    .replace(keyed ? '# authorization:' : /$^/, 'authorization:')
    .replace('127.0.0.1:9464', `127.0.0.1:${port}`)
    .replace('scrape_interval: 15s', 'scrape_interval: 1s')
    .replace('evaluation_interval: 15s', 'evaluation_interval: 1s')
    .replace('scrape_timeout: 10s', 'scrape_timeout: 1s')
  const rules = (await readFile(RULES, 'utf8')).replaceAll(/for: \w+/g, 'for: 0s')
  await writeFile(join(ops.dir, 'alerts.yml'), rules)
  const file = join(ops.dir, 'prometheus.yml')
  await writeFile(file, config)
  ops.start(PROGRAMS.prometheus, [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(ops.dir, 'data')}`,
    `--web.listen-address=127.0.0.1:${web}`,
  ])
  return web
}
