import { describe, expect } from 'vitest'
import type { Fault } from '../../src/simulator/faults.ts'
import { collect, endOf, errorOf, only } from '../support/job-log.ts'
import { POOL, test } from '../support/lab.ts'

/** Short enough for a test, long enough for a machine that is busy. */
/** How long a replica that falls silent is waited for; one that does not is given the default, so that nobody else is cut. */
function patienceWith({ kind }: Fault) {
  const isSilent = kind === 'stall' || kind === 'freeze' || kind === 'hang-headers'
  return isSilent ? { first_token_timeout_ms: 1000, token_timeout_ms: 1000 } : {}
}

const FAULTS: readonly Fault[] = [
  { kind: 'crash' },
  { kind: 'crash', midFrame: true },
  { kind: 'stall' },
  { kind: 'freeze' },
  { kind: 'hang-headers' },
  { kind: 'no-final-event', after: 0 },
  { kind: 'generation-error' },
  { kind: 'incomplete' },
  { kind: 'malformed' },
  { kind: 'long-token' },
  { kind: 'http-500' },
]

const nameOf = (fault: Fault) => (fault.midFrame === true ? `${fault.kind} in mid-frame` : fault.kind)

describe('a fault before the first token', () => {
  test.for(FAULTS.map((fault) => ({ name: nameOf(fault), fault })))(
    '$name: the job is run again and ends well',
    async ({ fault }, { lab }) => {
      const client = await lab.client(patienceWith(fault))
      const replica = await lab.replica({ faults: [{ ...fault, times: 1 }] })
      await lab.worker(replica)
      const { job_id: jobId } = await client.enqueue({ inputs: 'Try', parameters: { max_new_tokens: 6 } })
      const events = await collect(client, jobId)
      expect(endOf(events)).toMatchObject({ attempts: 2, tokens_out: 6 })
      expect(only(events, 'started').map(({ data }) => data.next_token)).toEqual([0, 0])
      await expect.poll(() => replica.seen.open).toBe(0)
    },
  )

  test('every time ends the job when its attempts are used up', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 3 })
    const replica = await lab.replica({ faults: [{ kind: 'crash' }] })
    const worker = await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Never' })
    const events = await collect(client, jobId)
    expect(errorOf(events)).toEqual({
      code: 'REPLICA_EXHAUSTED',
      message: expect.stringContaining('3'),
      retriable: true,
      tokens_out: 0,
      engine: 'tgi',
      pool_id: POOL,
      replica_id: worker.replicaId,
      attempt: 3,
    })
    expect(replica.seen.requests).toHaveLength(3)
    await expect.poll(() => client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
  })

  test('of the last attempt ends the job at once, though its replica takes no more jobs', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 1, deadline_ms: 120_000 })
    const replica = await lab.replica()
    // It is not probed before the fault, or the job would wait.
    const worker = await lab.worker(replica, { probeMs: 600_000 })
    await expect.poll(() => worker.state).toBe('ready')
    replica.addFault({ kind: 'unhealthy' })
    replica.addFault({ kind: 'http-502' })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Last' })
    const { code, message } = errorOf(await collect(client, jobId))
    expect(code).toBe('REPLICA_EXHAUSTED')
    expect(message).toMatch(/^1 attempt failed before the first token; last: .*127\.0\.0\.1:\d+.* HTTP 502/)
  })

  test('on one replica is mended by another', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 20 })
    const bad = await lab.replica({ faults: [{ kind: 'crash' }] })
    const good = await lab.replica()
    const worker = await lab.worker(bad, { slots: 2 })
    await expect.poll(() => worker.state).toBe('ready')
    const { job_id: jobId } = await client.enqueue({ inputs: 'Where?', parameters: { max_new_tokens: 3 } })
    await expect.poll(() => bad.seen.requests.length).toBeGreaterThan(0)
    await lab.worker(good, { slots: 2 })
    const events = await collect(client, jobId)
    endOf(events)
    expect(good.seen.requests).toHaveLength(1)
  })
})

describe('a connection that cannot be made', () => {
  test('costs the job no attempt: it ends well when the replica is back', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 1 })
    const gone = await lab.replica()
    const worker = await lab.worker(gone, { probeMs: 500 })
    await expect.poll(() => worker.state).toBe('ready')
    await gone.stop()
    const { job_id: jobId } = await client.enqueue({ inputs: 'Try', parameters: { max_new_tokens: 6 } })
    await expect.poll(async () => (await client.job(jobId)).attempts).toBe(1)
    await expect.poll(() => worker.state).toBe('unhealthy')
    await lab.replica({ port: gone.port })
    expect(endOf(await collect(client, jobId)).attempts).toBe(2)
  })

  test('or is reset as soon as it stands is tried again', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    const worker = await lab.worker(replica, { probeMs: 500 })
    await expect.poll(() => worker.state).toBe('ready')
    replica.addFault({ kind: 'refuse', times: 2 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Try', parameters: { max_new_tokens: 6 } })
    endOf(await collect(client, jobId))
  })
})

describe('a fault after tokens', () => {
  const afterTokens: readonly Fault[] = [
    { kind: 'crash', after: 4 },
    { kind: 'crash', after: 4, midFrame: true },
    { kind: 'stall', after: 4 },
    { kind: 'freeze', after: 4 },
    { kind: 'no-final-event', after: 4 },
    { kind: 'generation-error', after: 4 },
    { kind: 'incomplete', after: 4 },
    { kind: 'malformed', after: 4 },
    { kind: 'long-token', after: 4 },
  ]
  test.for(afterTokens.map((fault) => ({ name: nameOf(fault), fault })))(
    '$name: the answer goes on with its next attempt',
    async ({ fault }, { lab }) => {
      const client = await lab.client(patienceWith(fault))
      const replica = await lab.replica({ tokensPerSecond: 500, faults: [{ ...fault, times: 1 }] })
      await lab.worker(replica)
      const { job_id: jobId } = await client.enqueue({ inputs: 'Half', parameters: { max_new_tokens: 20 } })
      const events = await collect(client, jobId)
      expect(endOf(events)).toMatchObject({ attempts: 2, tokens_out: 20, exact: false })
      expect(only(events, 'started').map(({ data }) => data.next_token)).toEqual([0, 4])
      await expect.poll(() => replica.seen.open).toBe(0)
    },
  )

  test.for(afterTokens.map((fault) => ({ name: nameOf(fault), fault })))(
    '$name: WORKER_RESET with the tokens that are there where the job may not go on',
    async ({ fault }, { lab }) => {
      const client = await lab.client(patienceWith(fault))
      const replica = await lab.replica({ tokensPerSecond: 500, faults: [fault] })
      const worker = await lab.worker(replica)
      const { job_id: jobId } = await client.enqueue({
        inputs: 'Half',
        parameters: { max_new_tokens: 20 },
        on_interrupt: 'fail',
      })
      const events = await collect(client, jobId)
      expect(errorOf(events)).toMatchObject({
        code: 'WORKER_RESET',
        retriable: true,
        tokens_out: 4,
        replica_id: worker.replicaId,
        attempt: 1,
      })
      expect(only(events, 'token')).toHaveLength(4)
      await expect.poll(() => replica.seen.open).toBe(0)
    },
  )

  test('in one job leaves the others of the replica alone', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({
      tokensPerSecond: 200,
      faults: [{ kind: 'crash', after: 2, match: 'unlucky' }],
    })
    await lab.worker(replica)
    const parameters = { max_new_tokens: 30 }
    const lucky = await client.enqueue({ inputs: 'the other', parameters })
    const unlucky = await client.enqueue({ inputs: 'unlucky', parameters, on_interrupt: 'fail' })
    expect(errorOf(await collect(client, unlucky.job_id)).code).toBe('WORKER_RESET')
    expect(endOf(await collect(client, lucky.job_id))).toMatchObject({ attempts: 1, tokens_out: 30 })
  })
})

describe('a replica that refuses the job', () => {
  test('ends it as INVALID_PARAMS at once, with its reason and not the prompt', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ maxTotalTokens: 100 })
    await lab.worker(replica)
    const inputs = 'secret words '.repeat(60)
    const { job_id: jobId } = await client.enqueue({ inputs })
    const error = errorOf(await collect(client, jobId))
    expect(error).toMatchObject({ code: 'INVALID_PARAMS', retriable: false, attempt: 1, tokens_out: 0 })
    expect(error.message).toContain('must be <= 100')
    expect(error.message).not.toContain('secret')
    const next = await client.enqueue({ inputs: 'short', parameters: { max_new_tokens: 3 } })
    endOf(await collect(client, next.job_id))
  })

  test('because it is too long for one request does so too', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ payloadLimit: 1000 }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'x'.repeat(2000) })
    expect(errorOf(await collect(client, jobId)).code).toBe('INVALID_PARAMS')
  })
})

test.for(['http-429', 'http-503'] as const)(
  'a proxy that says "not now" with %s is asked again when it wants to be, and that costs no attempt',
  async (kind, { lab }) => {
    const client = await lab.client({ max_attempts: 1 })
    const replica = await lab.replica({ faults: [{ kind, times: 1, retryAfter: 1 }] })
    await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Later', parameters: { max_new_tokens: 3 } })
    const events = await collect(client, jobId)
    expect(endOf(events)).toMatchObject({ attempts: 2, tokens_out: 3 })
    const [first, second] = only(events, 'started').map(({ data }) => data.queue_time_ms)
    expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(990)
  },
)
