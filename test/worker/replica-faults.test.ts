import { describe, expect } from 'vitest'
import type { Fault } from '../../src/simulator/faults.ts'
import { collect, endOf, errorOf, only, tokensIn } from '../support/job-log.ts'
import { KEYS, POOL, test } from '../support/lab.ts'

/** Short enough for a test, long enough for a machine that is busy. */
const SILENCE = { first_token_timeout_ms: 300, token_timeout_ms: 300 }

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
  { kind: 'http-500' },
]

const nameOf = (fault: Fault) => (fault.midFrame === true ? `${fault.kind} in mid-frame` : fault.kind)

describe('a fault before the first token', () => {
  test.for(FAULTS.map((fault) => ({ name: nameOf(fault), fault })))(
    '$name: the job is run again and ends well',
    async ({ fault }, { lab }) => {
      const client = await lab.client(SILENCE)
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

describe('a refused connection', () => {
  test('costs the job no attempt: it ends well when the replica is back', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 1 })
    const replica = await lab.replica()
    const worker = await lab.worker(replica, { probeMs: 50 })
    await expect.poll(() => worker.state).toBe('ready')
    replica.addFault({ kind: 'refuse', times: 3 })
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
  ]
  test.for(afterTokens.map((fault) => ({ name: nameOf(fault), fault })))(
    '$name: WORKER_RESET with the tokens that are there',
    async ({ fault }, { lab }) => {
      const client = await lab.client(SILENCE)
      const replica = await lab.replica({ tokensPerSecond: 500, faults: [fault] })
      const worker = await lab.worker(replica)
      const { job_id: jobId } = await client.enqueue({ inputs: 'Half', parameters: { max_new_tokens: 20 } })
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
    const unlucky = await client.enqueue({ inputs: 'unlucky', parameters })
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

describe('a replica that is not ready', () => {
  test('takes nothing while it is unhealthy, says so, and goes on when it is well', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    replica.setHealthy(false)
    const worker = await lab.worker(replica, { probeMs: 30 })
    await expect
      .poll(() => client.replicas())
      .toMatchObject([{ state: 'unhealthy', slots: 0, reason: expect.stringContaining('not healthy') }])
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait', parameters: { max_new_tokens: 3 } })
    expect(await client.waiting()).toMatchObject({ interactive: 1 })
    replica.setHealthy(true)
    endOf(await collect(client, jobId))
    expect(worker.state).toBe('ready')
    replica.setHealthy(false)
    await expect.poll(() => worker.state).toBe('unhealthy')
    const probes = replica.seen.requests.length
    const late = await client.enqueue({ inputs: 'Wait again', parameters: { max_new_tokens: 3 } })
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'unhealthy' }])
    expect(replica.seen.requests.length).toBe(probes)
    replica.setHealthy(true)
    endOf(await collect(client, late.job_id))
  })

  test('lets running jobs finish when it turns unhealthy', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ tokensPerSecond: 100 })
    const worker = await lab.worker(replica, { probeMs: 30 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Go', parameters: { max_new_tokens: 50 } })
    await tokensIn(lab.redis, KEYS, jobId)
    replica.setHealthy(false)
    await expect.poll(() => worker.state).toBe('unhealthy')
    expect(endOf(await collect(client, jobId)).attempts).toBe(1)
  })

  test('takes nothing when it is not what the pool is pinned to, and goes on when it is again', async ({ lab }) => {
    const client = await lab.client({ pin: { engine_version: '3.3.6-dev0+sim' } })
    const replica = await lab.replica()
    const worker = await lab.worker(replica, { probeMs: 30 })
    await expect.poll(() => worker.state).toBe('ready')
    replica.setInfo({ docker_label: 'other' })
    await expect.poll(() => client.replicas()).toMatchObject([
      {
        state: 'drifted',
        slots: 0,
        versions: { engine_version: '3.3.6-dev0+other' },
        reason: expect.stringContaining('3.3.6-dev0+other'),
      },
    ])
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait', parameters: { max_new_tokens: 3 } })
    // A worker that was waiting for a job when it shut takes that one and puts it back.
    await expect.poll(() => client.waiting()).toMatchObject({ interactive: 1 })
    expect(replica.seen.requests).toEqual([])
    replica.setInfo({ docker_label: 'sim' })
    endOf(await collect(client, jobId))
  })

  test('with a model that is not the pinned one drifts as well', async ({ lab }) => {
    const client = await lab.client({ pin: { model_id: 'right/model' } })
    const wrong = await lab.replica({ modelId: 'wrong/model' })
    const right = await lab.replica({ modelId: 'right/model' })
    const worker = await lab.worker(wrong)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Which?', parameters: { max_new_tokens: 3 } })
    await expect.poll(() => worker.state).toBe('drifted')
    await lab.worker(right)
    endOf(await collect(client, jobId))
    expect(wrong.seen.requests).toEqual([])
  })

  test('is told from one that is not there yet by its reason only, and waited for', async ({ lab }) => {
    const client = await lab.client()
    const gone = await lab.replica()
    const { port } = gone
    await gone.stop()
    await lab.worker(gone, { probeMs: 30 })
    await expect
      .poll(() => client.replicas())
      .toMatchObject([{ state: 'unhealthy', versions: null, reason: expect.stringContaining('ECONNREFUSED') }])
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait', parameters: { max_new_tokens: 3 } })
    await lab.replica({ port })
    endOf(await collect(client, jobId))
  })
})
