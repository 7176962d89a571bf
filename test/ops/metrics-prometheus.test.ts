/** Needs `prometheus` and `promtool` (Debian, Ubuntu: apt-get install prometheus). */
import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { collect, endOf } from '../support/job-log.ts'
import { POOL } from '../support/lab.ts'
import { register } from '../metrics/stage.ts'
import type { Lab } from '../support/lab.ts'
import { CONFIG, PROGRAMS, get, query, startMetrics, startPrometheus, test } from './prometheus.ts'
import type { Ops } from './prometheus.ts'

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
  return startMetrics(lab, ops)
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

  test('is scraped with a key, from the file that it reads itself', async ({ lab, ops }) => {
    await lab.client()
    const bearer = join(ops.dir, 'metrics-bearer')
    await writeFile(bearer, 'a-key-of-this-test-0123456789\n')
    const port = await startMetrics(lab, ops, {
      TGI_POOL_METRICS_HOST: '0.0.0.0',
      TGI_POOL_METRICS_BEARER_FILE: bearer,
    })
    expect(await get(`http://127.0.0.1:${port}/metrics`)).toContain('UNAUTHORIZED')
    const web = await startPrometheus(ops, port, true)
    const up = async () => (await query(web, 'up{job="tgi-pool"}')).map(({ value }) => value[1])
    await expect.poll(up).toEqual(['1'])
    const keyless = await startPrometheus(ops, port)
    await expect
      .poll(async () => (await query(keyless, 'up{job="tgi-pool"}')).map(({ value }) => value[1]))
      .toEqual(['0'])
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
