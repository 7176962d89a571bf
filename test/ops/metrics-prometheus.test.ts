/** Needs `prometheus` and `promtool` (Debian, Ubuntu: apt-get install prometheus). */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect } from 'vitest'
import { freePort } from '../../src/redis/server.ts'
import { collect, endOf } from '../support/job-log.ts'
import { POOL } from '../support/lab.ts'
import { register, test as base } from '../metrics/stage.ts'
import type { Lab } from '../support/lab.ts'

const METRICS = fileURLToPath(new URL('../../workers/metrics.ts', import.meta.url))
const CONFIG = fileURLToPath(new URL('../../ops/prometheus.yml', import.meta.url))

/** Not npm's: knip must not look for them there. */
const PROGRAMS = { prometheus: 'prometheus', promtool: 'promtool' } as const

/** Processes of one test, in a folder of its own. */
interface Ops {
  readonly dir: string
  /** Starts a program; it is ended after the test. */
  start(program: string, args: readonly string[], env?: Readonly<Record<string, string>>): void
}

const test = base.extend('ops', async ({}, { onCleanup }): Promise<Ops> => {
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

/** Two workers with a replica each that have answered jobs, and a metrics process; answers its port. */
async function servePool(lab: Lab, ops: Ops): Promise<number> {
  const client = await lab.client()
  for (const replicaId of ['gpu-0', 'gpu-1']) {
    const worker = await lab.worker(await lab.replica(), { replicaId })
    await expect.poll(() => worker.state).toBe('ready')
  }
  const jobs = Array.from({ length: 20 }, () =>
    client.enqueue({ inputs: 'hello', parameters: { max_new_tokens: 5 } }),
  )
  for (const { job_id: jobId } of await Promise.all(jobs)) endOf(await collect(client, jobId))
  const port = await freePort()
  ops.start(process.execPath, [METRICS], { REDIS_URL: lab.redisUrl, TGI_POOL_METRICS_PORT: String(port) })
  await expect.poll(() => get(`http://127.0.0.1:${port}/readyz`)).toContain('ready')
  return port
}

async function get(url: string): Promise<string> {
  try {
    return await (await fetch(url, { headers: { connection: 'close' } })).text()
  } catch {
    return ''
  }
}

/** One series as Prometheus has it. */
interface Series {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

async function query(port: number, expression: string): Promise<readonly Series[]> {
  const text = await get(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expression)}`)
  if (text === '') return []
  return (JSON.parse(text) as { data?: { result?: Series[] } }).data?.result ?? []
}

/** A Prometheus with the configuration of ops/, but quicker; answers its port. */
async function startPrometheus(ops: Ops, port: number): Promise<number> {
  const web = await freePort()
  const config = (await readFile(CONFIG, 'utf8'))
    .replace('127.0.0.1:9464', `127.0.0.1:${port}`)
    .replace('scrape_interval: 15s', 'scrape_interval: 1s')
    .replace('scrape_timeout: 10s', 'scrape_timeout: 1s')
  const file = join(ops.dir, 'prometheus.yml')
  await writeFile(file, config)
  ops.start(PROGRAMS.prometheus, [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(ops.dir, 'data')}`,
    `--web.listen-address=127.0.0.1:${web}`,
  ])
  return web
}

describe('a metrics process beside real replicas', () => {
  test('tells what promtool reads, with no complaint about a name of ours', async ({ lab, ops }) => {
    const port = await servePool(lab, ops)
    const text = await get(`http://127.0.0.1:${port}/metrics`)
    expect(text).toContain('tgi_pool_jobs')
    expect(text).toContain('tgi_request_count')
    const checked = spawnSync(PROGRAMS.promtool, ['check', 'metrics'], { input: text, encoding: 'utf8' })
    expect(checked.error).toBe(undefined)
    // 1 is a text that cannot be read, 3 a name against the custom, as some of TGI's and prom-client's are.
    expect([0, 3]).toContain(checked.status)
    expect(checked.stderr + checked.stdout).not.toMatch(/tgi_pool_|error while linting/)
  })

  test('is what a real Prometheus takes, series by series', async ({ lab, ops }) => {
    const port = await servePool(lab, ops)
    const web = await startPrometheus(ops, port)
    const requests = 'sum by (pool_id, replica_id, engine, engine_version, model_id) (tgi_request_count)'
    await expect.poll(() => query(web, requests)).toHaveLength(2)
    const series = await query(web, requests)
    expect(series.map(({ metric }) => metric)).toEqual(
      ['gpu-0', 'gpu-1'].map((replicaId) => ({
        pool_id: POOL,
        replica_id: replicaId,
        engine: 'tgi',
        engine_version: '3.3.6-dev0+sim',
        model_id: 'simulated/tiny-llm',
      })),
    )
    expect(series.reduce((sum, { value }) => sum + Number(value[1]), 0)).toBe(20)
    for (const [expression, value] of [
      [`tgi_pool_jobs{pool_id="${POOL}",state="waiting",priority="batch"}`, '0'],
      [`tgi_pool_jobs{pool_id="${POOL}",state="active",priority=""}`, '0'],
      ['sum(tgi_pool_slots)', '16'],
      ['sum(tgi_pool_replica_state{state="ready"})', '2'],
      ['tgi_pool_oldest_wait_seconds', '0'],
      ['count(process_resident_memory_bytes)', '1'],
      // A quantile comes out of buckets only when they are whole.
      ['histogram_quantile(1, sum by (le) (tgi_batch_next_size_bucket)) > bool 0', '1'],
      ['up{job="tgi-pool"}', '1'],
      // Every sample of the last scrape was taken.
      ['scrape_samples_scraped - scrape_samples_post_metric_relabeling', '0'],
    ] as const) {
      expect(
        (await query(web, expression)).map((found) => found.value[1]),
        expression,
      ).toEqual([value])
    }
  })

  test('harms nothing, whatever a replica writes that can be read', async ({ lab, stage, ops }) => {
    await lab.client()
    const strange = [
      '',
      ' ',
      '\r',
      '\t',
      '\u0001',
      '\u007f',
      '\u2028',
      '\u{feff}',
      '🦔',
      '\\',
      '"',
      '\n',
      '{},=#',
    ]
    const escaped = strange.map((text) =>
      text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n'),
    )
    const lines = [
      ...escaped.map(
        (text, n) => `# HELP strange${n} x${text.replaceAll('\\"', '"')}x\nstrange${n}{of="${text}"} 1`,
      ),
      ...escaped.map((text) => `strange{of="${text}x",pool_id="${text}"} 1`),
      '# TYPE strange_histogram histogram\nstrange_histogram_bucket{le="+Inf",pool_id="x"} 1',
      '# TYPE odd summary\nodd{quantile="0.5"} NaN\nodd{quantile="1"} -Inf 12',
      'last 1',
    ]
    const { url } = await stage.tell(`${lines.join('\n')}\n`)
    await register(lab, 'strange', url)
    const plain = await stage.tell('# TYPE plain counter\nplain 1\n')
    await register(lab, 'zz-plain', plain.url)
    const server = await stage.serve()
    const text = await get(`${server.url}/metrics`)
    const checked = spawnSync(PROGRAMS.promtool, ['check', 'metrics'], { input: text, encoding: 'utf8' })
    expect(checked.stderr + checked.stdout).not.toMatch(/error while linting/)
    const web = await startPrometheus(ops, server.port)
    await expect.poll(() => query(web, 'plain{replica_id="zz-plain"}')).toHaveLength(1)
    expect((await query(web, 'up{job="tgi-pool"}')).map(({ value }) => value[1])).toEqual(['1'])
    const told = await query(web, 'strange')
    expect(new Set(told.map(({ metric }) => metric['of']))).toEqual(new Set(strange.map((of) => `${of}x`)))
    expect(new Set(told.map(({ metric }) => metric['exported_pool_id'] ?? ''))).toEqual(new Set(strange))
  })

  test('has a configuration in ops/ that promtool takes', () => {
    const checked = spawnSync(PROGRAMS.promtool, ['check', 'config', CONFIG], { encoding: 'utf8' })
    expect(checked.stderr).toBe('')
    expect(checked.status).toBe(0)
  })
})
