import { describe, expect } from 'vitest'
import { poolConfigSchema } from '../../src/contract/pool-config.ts'
import { OVER_STATES } from '../../src/contract/job-states.ts'
import { START } from '../../src/contract/stream-id.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { sweepDeadlines } from '../../src/stream/deadline-sweep.ts'
import { trimIndex } from '../../src/stream/job-index.ts'
import { errorSeal } from '../../src/stream/seal.ts'
import { KEYS, POOL } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { test } from '../support/plain-queue.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const BODY = { inputs: 'hello', parameters: { max_new_tokens: 2 } }
const NO_QUEUE = { holds: async () => false, removeWaiting: async () => undefined }

/** How long a job's events will stay (ms). */
async function lifeOf({ redis }: Lab, jobId: string): Promise<number> {
  return redis.pttl(KEYS.events(jobId))
}

/** Somewhat less than a time: it has passed since. */
function nearly(ms: number): (life: number) => boolean {
  return (life) => life > ms - HOUR / 2 && life <= ms
}

describe("a job's retention_ms", () => {
  test('is how long its events stay, whoever ends it', async ({ lab }) => {
    const client = await lab.client()
    const enqueue = async (jobId: string, body: object) => client.enqueue({ ...BODY, ...body }, { jobId })
    await enqueue('waits', { retention_ms: 5 * DAY, deadline_ms: HOUR })
    expect(await lifeOf(lab, 'waits')).toSatisfy(nearly(5 * DAY + HOUR))
    await enqueue('cancelled', { retention_ms: 5 * DAY })
    await client.cancel('cancelled')
    await enqueue('swept', { retention_ms: 5 * DAY, deadline_ms: 1 })
    const log = createEventLog(lab.redis, KEYS)
    const sweep = { redis: lab.redis, log, queue: NO_QUEUE, keys: KEYS, retentionMs: HOUR }
    await expect.poll(() => sweepDeadlines(sweep)).toBe(1)
    await enqueue('usual', { deadline_ms: 1 })
    await expect.poll(() => sweepDeadlines(sweep)).toBe(1)
    await client.cancel('waits')
    await lab.worker(await lab.replica())
    await enqueue('answered', { retention_ms: 5 * DAY })
    await client.result('answered')
    for (const jobId of ['cancelled', 'swept', 'waits', 'answered'])
      expect(await lifeOf(lab, jobId), jobId).toSatisfy(nearly(5 * DAY))
    expect(await lifeOf(lab, 'usual')).toSatisfy(nearly(HOUR))
  })

  test("of a plain BullMQ producer's job counts, too", async ({ lab, queue }) => {
    const client = await lab.client()
    await queue.add('generate', { ...BODY, v: 1, retention_ms: 5 * DAY }, { jobId: 'plain' })
    await lab.worker(await lab.replica())
    await expect.poll(() => client.job('plain').catch(() => undefined)).toMatchObject({ state: 'ended' })
    expect(await lifeOf(lab, 'plain')).toSatisfy(nearly(5 * DAY))
  })

  test("may be as long as the pool's max_retention_ms, and the pool's own may not be longer", async ({
    lab,
  }) => {
    const client = await lab.client()
    const refused = {
      kind: 'INVALID_PARAMS',
      message: expect.stringContaining("the pool's max_retention_ms"),
    }
    await client.enqueue({ ...BODY, retention_ms: 7 * DAY })
    await expect(client.enqueue({ ...BODY, retention_ms: 7 * DAY + 1 })).rejects.toMatchObject(refused)
    await expect(client.enqueue({ ...BODY, retention_ms: 0 })).rejects.toMatchObject({
      kind: 'INVALID_PARAMS',
    })
    const tooLong = {
      kind: 'INVALID_PARAMS',
      message: expect.stringContaining('at most 604800000 (max_retention_ms)'),
    }
    await expect(client.set({ retention_ms: 8 * DAY })).rejects.toMatchObject(tooLong)
    await expect(client.set({ max_retention_ms: HOUR - 1 })).rejects.toMatchObject({ kind: 'INVALID_PARAMS' })
    expect(await client.set({ retention_ms: 8 * DAY, max_retention_ms: 9 * DAY })).toMatchObject({
      retention_ms: 8 * DAY,
    })
    await client.enqueue({ ...BODY, retention_ms: 9 * DAY })
  })

  test('of a pool of an earlier version may be longer than the bound', async ({ lab }) => {
    const client = await lab.client()
    await lab.redis.hset(KEYS.config, 'retention_ms', String(30 * DAY))
    expect(await client.config()).toEqual({ ...poolConfigSchema.parse({}), retention_ms: 30 * DAY })
    expect(await client.set({ max_queued: 7 })).toMatchObject({ max_queued: 7, retention_ms: 30 * DAY })
  })
})

describe('the index', () => {
  test('loses a finished job with its stream, be its retention shorter or longer than others', async ({
    lab,
  }) => {
    const log = createEventLog(lab.redis, KEYS)
    const seal = errorSeal('CANCELLED', { message: 'cancelled', pool_id: POOL })
    const end = (jobId: string, retentionMs: number) =>
      log.write({ jobId, expect: START, entries: [seal], deadlineAt: Date.now() + HOUR, retentionMs })
    for (let job = 0; job < 1500; job += 1) await end(`short-${job}`, 1)
    await end('long', DAY)
    const indexed = async () =>
      (await Promise.all(OVER_STATES.map((state) => lab.redis.zcard(KEYS.index(state))))).reduce(
        (sum, count) => sum + count,
      )
    expect(await indexed()).toBe(1501)
    await expect.poll(() => lab.redis.exists(KEYS.events('short-1499'))).toBe(0)
    await trimIndex(lab.redis, KEYS, 7 * DAY)
    expect(await indexed()).toBe(1)
    expect(await lab.redis.zrange(KEYS.expiry, '0', '-1')).toEqual(['long'])
    // A job of an earlier version has no expiry.
    await lab.redis.zadd(KEYS.index('ended'), Date.now() - 8 * DAY, 'old', Date.now() - 6 * DAY, 'young')
    await trimIndex(lab.redis, KEYS, 7 * DAY)
    expect(await lab.redis.zrange(KEYS.index('ended'), '0', '-1')).toEqual(['young'])
  })
})
