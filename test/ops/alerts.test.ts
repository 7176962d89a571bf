/** Needs `prometheus` and `promtool` (Debian, Ubuntu: apt-get install prometheus). */
import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { createOwnFamilies } from '../../src/metrics/own-families.ts'
import { collect, errorOf } from '../support/job-log.ts'
import { POOL } from '../support/lab.ts'
import { PROGRAMS, query, startMetrics, startPrometheus, test } from './prometheus.ts'

const OPS = fileURLToPath(new URL('../../ops/', import.meta.url))

test('the alerts are what promtool takes, and fire when they should and not else', () => {
  for (const args of [
    ['check', 'rules', 'alerts.yml'],
    ['test', 'rules', 'alerts.test.yml'],
  ]) {
    const { status, stdout, stderr } = spawnSync(PROGRAMS.promtool, args, { cwd: OPS, encoding: 'utf8' })
    expect(stdout + stderr).toContain('SUCCESS')
    expect(status, stdout + stderr).toBe(0)
  }
})

test('each alert is about a metric that we export, says what to do, and is tested', async () => {
  const rules = await readFile(`${OPS}alerts.yml`, 'utf8')
  const tested = await readFile(`${OPS}alerts.test.yml`, 'utf8')
  const { types } = createOwnFamilies()
  const names = [...rules.matchAll(/\btgi_pool_\w+/g)].map(([name]) => name)
  expect(names.length).toBeGreaterThan(5)
  expect(names.filter((name) => !types.has(name))).toEqual([])
  const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name)
  for (const word of ['severity:', 'summary:', 'description:'])
    expect(rules.split(word)).toHaveLength(alerts.length + 1)
  // Each is expected to fire somewhere, and to be silent in the healthy pool.
  for (const name of alerts) {
    expect(tested).toContain(`alertname: ${name}, exp_alerts: []`)
    expect(tested).toMatch(
      new RegExp(`alertname="${name}",alertstate="firing",|alertname: ${name}\n +exp_alerts`),
    )
  }
})

test('a replica that answers HTTP 500 to everything makes an alert fire in a real Prometheus', async ({
  lab,
  ops,
}) => {
  const client = await lab.client({ max_attempts: 1 })
  const web = await startPrometheus(ops, await startMetrics(lab, ops))
  // The counter is there, at 0, before anything has failed.
  const failures = `tgi_pool_jobs_total{pool_id="${POOL}",code="REPLICA_EXHAUSTED"}`
  await expect.poll(async () => (await query(web, failures))[0]?.value[1]).toBe('0')
  const firing = () => query(web, 'ALERTS{alertname="TgiPoolJobsFailing",alertstate="firing"}')
  expect(await firing()).toEqual([])

  await lab.worker(await lab.replica({ faults: [{ kind: 'http-500' }] }))
  const jobs = Array.from({ length: 4 }, (_, n) => client.enqueue({ inputs: `Job ${n}` }))
  for (const { job_id: id } of await Promise.all(jobs))
    expect(errorOf(await collect(client, id)).code).toBe('REPLICA_EXHAUSTED')
  await expect
    .poll(async () => (await firing()).map(({ metric }) => metric))
    .toEqual([expect.objectContaining({ pool_id: POOL, code: 'REPLICA_EXHAUSTED', severity: 'critical' })])
  expect(lab.lines.some((line) => /"level":40.*REPLICA_EXHAUSTED/.test(line))).toBe(true)
})
