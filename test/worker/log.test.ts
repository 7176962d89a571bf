import { describe, expect } from 'vitest'
import { collect, endOf, errorOf } from '../support/job-log.ts'
import { POOL, test } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'

const JOB = { inputs: 'hello', parameters: { max_new_tokens: 5 } }
const LONG = { inputs: 'hello', parameters: { max_new_tokens: 5000 } }
/** pino's numbers, as the lab's lines have them. */
const [INFO, WARN] = [30, 40]

type Line = Readonly<Record<string, unknown>>

function said({ lines }: Pick<Lab, 'lines'>, msg: string): Line[] {
  return lines.map((line) => JSON.parse(line) as Line).filter((line) => line['msg'] === msg)
}

describe('a worker', () => {
  test('logs the end of a job once, with its times and tokens', async ({ lab }) => {
    const client = await lab.client()
    const { replicaId } = await lab.worker(await lab.replica())
    const { job_id: id } = await client.enqueue({ ...JOB, correlation_id: 'mine' })
    const end = endOf(await collect(client, id))
    await expect.poll(() => said(lab, 'job ended')).toHaveLength(1)
    expect(said(lab, 'job ended')[0]).toMatchObject({
      level: INFO,
      job_id: id,
      pool_id: POOL,
      replica_id: replicaId,
      attempts: 1,
      tokens_in: end.tokens_in,
      tokens_out: 5,
      queue_time_ms: expect.any(Number),
      first_token_ms: end.first_token_ms,
      ttft_ms: end.ttft_ms,
      decode_time_ms: end.decode_time_ms,
      end_to_end_ms: expect.any(Number),
      correlation_id: 'mine',
    })
    expect(said(lab, 'job failed')).toEqual([])
    expect(said(lab, 'attempt failed')).toEqual([])
  })

  test('warns of each failed attempt with its reason, and of the job that they end', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 2 })
    await lab.worker(await lab.replica({ faults: [{ kind: 'http-500' }] }))
    const { job_id: id } = await client.enqueue(JOB)
    expect(errorOf(await collect(client, id)).code).toBe('REPLICA_EXHAUSTED')
    await expect.poll(() => said(lab, 'job failed')).toHaveLength(1)
    const failed = said(lab, 'attempt failed')
    expect(failed).toHaveLength(2)
    for (const line of failed)
      expect(line).toMatchObject({ level: WARN, job_id: id, reason: expect.stringContaining('HTTP 500') })
    const [line] = said(lab, 'job failed')
    expect(line).toMatchObject({ level: WARN, job_id: id, code: 'REPLICA_EXHAUSTED', attempts: 2 })
    expect(line?.['reason']).toMatch(/2 attempts failed before the first token; last: .*HTTP 500/)
  })

  test('warns of a job that it refuses, not of an attempt', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ maxInputTokens: 10, maxTotalTokens: 20 }))
    const { job_id: id } = await client.enqueue({ ...JOB, inputs: 'far too long '.repeat(50) })
    expect(errorOf(await collect(client, id)).code).toBe('INVALID_PARAMS')
    await expect
      .poll(() => said(lab, 'job failed'))
      .toMatchObject([{ level: WARN, code: 'INVALID_PARAMS', job_id: id }])
    expect(said(lab, 'attempt failed')).toEqual([])
    expect(lab.lines.join('')).not.toContain('far too long')
  })

  test('logs a job whose deadline it has swept, which no worker ever took', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: id } = await client.enqueue({ ...JOB, deadline_ms: 1 })
    await lab.worker(await lab.replica({ faults: [{ kind: 'unhealthy' }] }))
    // A second worker sweeps, too; one of them wins.
    await lab.worker(await lab.replica({ faults: [{ kind: 'unhealthy' }] }))
    await expect
      .poll(() => said(lab, 'job failed'))
      .toMatchObject([
        { level: WARN, job_id: id, pool_id: POOL, code: 'DEADLINE_UNMET', attempts: 0, tokens_out: 0 },
      ])
    expect(said(lab, 'job failed')[0]?.['end_to_end_ms']).toBeGreaterThan(0)
  })

  test('leaves the line of a cancelled job to whom it was cancelled by', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ tokensPerSecond: 50 }))
    const { job_id: id } = await client.enqueue(LONG)
    await expect.poll(async () => (await client.job(id)).state).toBe('started')
    await client.cancel(id)
    await expect
      .poll(() => said(lab, 'attempt stopped'))
      .toMatchObject([{ level: INFO, job_id: id, outcome: 'sealed', next: 'over' }])
    for (const message of ['job cancelled', 'job failed', 'job ended']) expect(said(lab, message)).toEqual([])
  })

  test('says when its breaker tries the replica, opens, lets one through and closes', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 20 })
    // Three jobs and the worker's own request.
    const jobs = await Promise.all([1, 2, 3].map(() => client.enqueue(JOB)))
    await lab.worker(await lab.replica({ faults: [{ kind: 'http-500', times: 4 }] }), { slots: 1 })
    for (const { job_id: id } of jobs) endOf(await collect(client, id))
    await expect.poll(() => said(lab, 'breaker closed')).toHaveLength(1)
    expect(said(lab, 'breaker opened')).toMatchObject([
      { level: WARN, cause: 'faults', pause_ms: expect.any(Number) },
    ])
    expect(said(lab, 'breaker testing replica')).toMatchObject([{ level: INFO }, { level: INFO }])
    expect(said(lab, 'breaker half-open')).toMatchObject([{ level: INFO }])
  })

  test('says once that it stands by', async ({ lab }) => {
    await lab.client()
    const replica = await lab.replica()
    const first = await lab.worker(replica, { leaseMs: 1000 })
    await expect.poll(() => first.state).toBe('ready')
    const second = await lab.worker(replica, { leaseMs: 1000 })
    await expect.poll(() => said(lab, 'standing by: another worker holds the lease')).toHaveLength(1)
    await first.stop(0)
    await expect.poll(() => second.state).toBe('ready')
    expect(said(lab, 'standing by: another worker holds the lease')).toHaveLength(1)
    expect(said(lab, 'lease acquired')).toHaveLength(2)
  })
})
