import { expect } from 'vitest'
import { ERROR_CODES } from '../../src/contract/codes.ts'
import { collect, endOf } from '../support/job-log.ts'
import { POOL } from '../support/lab.ts'
import { scrape, test } from './stage.ts'

const JOB = { inputs: 'hello', parameters: { max_new_tokens: 5 } }
const HISTOGRAMS = [
  'tgi_pool_queue_time_seconds',
  'tgi_pool_time_to_first_token_seconds',
  'tgi_pool_job_duration_seconds',
]

test('every counter and histogram of a pool is there from the start, at 0', async ({ lab, stage }) => {
  await lab.client()
  const told = await scrape(await stage.serve())
  const outcomes = told.samples('tgi_pool_jobs_total', { pool_id: POOL })
  expect(outcomes).toHaveLength(1 + ERROR_CODES.length)
  expect(told.value('tgi_pool_jobs_total', { outcome: 'cancelled', code: 'CANCELLED' })).toBe(0)
  for (const priority of ['interactive', 'batch']) {
    expect(told.value('tgi_pool_jobs_queued_total', { priority })).toBe(0)
    expect(told.value('tgi_pool_jobs_started_total', { priority })).toBe(0)
    for (const name of HISTOGRAMS) {
      expect(told.value(`${name}_count`, { priority })).toBe(0)
      expect(told.value(`${name}_bucket`, { priority, le: '+Inf' })).toBe(0)
    }
  }
  for (const direction of ['in', 'out']) expect(told.value('tgi_pool_tokens_total', { direction })).toBe(0)
  for (const state of ['queued', 'started', 'ended', 'failed', 'cancelled'])
    expect(told.value('tgi_pool_jobs_kept', { state })).toBe(0)
  for (const { value } of told.families
    .filter(({ type }) => type === 'counter')
    .flatMap(({ samples }) => samples))
    expect(Number(value)).not.toBeNaN()
})

test('jobs count by outcome, with their tokens and times, though their worker is gone', async ({
  lab,
  stage,
}) => {
  const client = await lab.client()
  const late = await client.enqueue({ ...JOB, deadline_ms: 1 })
  const unwanted = await client.enqueue({ ...JOB, priority: 'batch' })
  await client.cancel(unwanted.job_id)
  const worker = await lab.worker(await lab.replica())
  const jobs = [await client.enqueue(JOB), await client.enqueue({ ...JOB, priority: 'batch' })]
  const ends = []
  for (const { job_id: id } of jobs) ends.push(endOf(await collect(client, id)))
  await collect(client, late.job_id)
  await worker.stop(0)

  const told = await scrape(await stage.serve())
  const value = (name: string, labels: object) => told.value(name, { pool_id: POOL, ...labels })
  expect(value('tgi_pool_jobs_queued_total', { priority: 'interactive' })).toBe(2)
  expect(value('tgi_pool_jobs_queued_total', { priority: 'batch' })).toBe(2)
  expect(value('tgi_pool_jobs_started_total', { priority: 'interactive' })).toBe(1)
  expect(value('tgi_pool_jobs_started_total', { priority: 'batch' })).toBe(1)
  expect(value('tgi_pool_jobs_total', { outcome: 'ended', code: '' })).toBe(2)
  expect(value('tgi_pool_jobs_total', { outcome: 'cancelled', code: 'CANCELLED' })).toBe(1)
  expect(value('tgi_pool_jobs_total', { outcome: 'failed', code: 'DEADLINE_UNMET' })).toBe(1)
  expect(value('tgi_pool_tokens_total', { direction: 'out' })).toBe(10)
  expect(value('tgi_pool_tokens_total', { direction: 'in' })).toBe(
    ends.reduce((sum, end) => sum + (end.tokens_in ?? 0), 0),
  )
  for (const name of HISTOGRAMS) expect(value(`${name}_count`, { priority: 'batch' })).toBe(1)
  const [, batch] = ends
  const seconds = ((batch?.first_token_ms ?? 0) + (batch?.decode_time_ms ?? 0)) / 1000
  expect(value('tgi_pool_job_duration_seconds_sum', { priority: 'batch' })).toBe(seconds)
  for (const [state, count] of Object.entries({ queued: 0, started: 0, ended: 2, failed: 1, cancelled: 1 }))
    expect(value('tgi_pool_jobs_kept', { state })).toBe(count)
})

test('buckets are cumulative, and the last one is the count', async ({ lab, stage }) => {
  const client = await lab.client()
  await lab.worker(await lab.replica({ prefillMs: 20 }))
  for (let n = 0; n < 5; n += 1) await collect(client, (await client.enqueue(JOB)).job_id)
  const told = await scrape(await stage.serve())
  const name = 'tgi_pool_time_to_first_token_seconds'
  const counts = told
    .samples(`${name}_bucket`, { priority: 'interactive' })
    .map((sample) => Number(sample.value))
  expect(counts).toEqual(counts.toSorted((a, b) => a - b))
  expect(counts.at(-1)).toBe(5)
  expect(told.value(`${name}_count`, { priority: 'interactive' })).toBe(5)
  // Prefill takes 20 ms, so none lies in a bucket below.
  expect(told.value(`${name}_bucket`, { priority: 'interactive', le: '0.01' })).toBe(0)
})
