import { describe, expect } from 'vitest'
import { SEAL_ID, START } from '../../src/contract/stream-id.ts'
import { JOB_NAME } from '../../src/contract/keys.ts'
import { openJobQueue } from '../../src/queue/job-queue.ts'
import type { JobQueue } from '../../src/queue/job-queue.ts'
import { ANYTHING, createEventLog } from '../../src/stream/event-log.ts'
import type { EventLog } from '../../src/stream/event-log.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { parseEntry } from '../../src/stream/entry.ts'
import { cancelJob } from '../../src/stream/seal.ts'
import { Queue } from 'bullmq'
import { test as base } from '../support/redis.ts'
import { end, idsOf, QUEUED, started, token } from './entries.ts'

/** A job in a real queue, and its events. */
interface Stage {
  readonly log: EventLog
  readonly queue: JobQueue
  write(...entries: LogEntry[]): Promise<void>
  /** Adds the job as any BullMQ producer would, without events. */
  addPlain(delayMs?: number): Promise<void>
  cancel(ports?: { log?: EventLog; queue?: JobQueue; reason?: string }): Promise<string>
  entries(): Promise<readonly LogEntry[]>
}

const test = base.extend('stage', async ({ redis }, { onCleanup }): Promise<Stage> => {
  const log = createEventLog(redis.redis, redis.keys)
  const queue = openJobQueue(redis.redis, redis.keys)
  onCleanup(() => queue.close())
  return {
    log,
    queue,
    async write(...entries) {
      const request = { jobId: 'j', entries, deadlineAt: Date.now() + 100_000, retentionMs: 60_000 }
      const { last } = await log.write({ ...request, expect: START })
      if (last !== entries.at(-1)?.id) await log.write({ ...request, expect: ANYTHING })
    },
    async addPlain(delay = 0) {
      const plain = new Queue('jobs', { connection: redis.redis, prefix: redis.keys.queuePrefix })
      await plain.add(JOB_NAME, { inputs: 'x' }, { jobId: 'j', priority: 10, delay })
      await plain.close()
    },
    cancel: ({ reason, ...ports } = {}) =>
      cancelJob({ log, queue, ...ports, pool: 'p', jobId: 'j', retentionMs: 60_000, reason }),
    entries: async () => (await log.read('j')).entries,
  }
})

describe('a cancel', () => {
  test('of a waiting job seals it and takes it out of the queue', async ({ stage }) => {
    await stage.write(QUEUED)
    await stage.queue.add('j', { inputs: 'x' }, 'interactive')
    expect(await stage.cancel({ reason: 'changed\nmy mind' })).toBe('cancelled')
    const [, seal] = (await stage.entries()).map(parseEntry)
    expect(seal).toMatchObject({
      id: SEAL_ID,
      event: 'error',
      data: { code: 'CANCELLED', retriable: false, message: 'changed my mind', pool_id: 'p' },
    })
    expect(await stage.queue.holds('j')).toBe(false)
  })

  test('of a running job seals it', async ({ stage }) => {
    await stage.write(QUEUED, started(), token(0))
    expect(await stage.cancel()).toBe('cancelled')
    expect(idsOf(await stage.entries())).toEqual([QUEUED.id, started().id, token(0).id, SEAL_ID])
  })

  test('of a job that is over changes nothing', async ({ stage }) => {
    await stage.write(QUEUED, started(), token(0), end(1))
    const before = await stage.entries()
    expect(await stage.cancel()).toBe('already_over')
    expect(await stage.entries()).toEqual(before)
  })

  test('twice is one', async ({ stage }) => {
    await stage.write(QUEUED)
    const outcomes = await Promise.all([stage.cancel(), stage.cancel(), stage.cancel()])
    expect(outcomes.toSorted()).toEqual(['already_over', 'already_over', 'cancelled'])
    expect(await stage.entries()).toHaveLength(2)
  })

  test('of an unknown job writes nothing', async ({ stage, redis }) => {
    await expect(stage.cancel()).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
    expect(await redis.redis.keys('*events*')).toEqual([])
  })

  test.for([0, 60_000])(
    'of a plain job that waits %i ms seals and removes it',
    async (delayMs, { stage, redis }) => {
      await stage.addPlain(delayMs)
      expect(await stage.cancel()).toBe('cancelled')
      expect(idsOf(await stage.entries())).toEqual([SEAL_ID])
      expect(await stage.queue.holds('j')).toBe(false)
      expect(await redis.redis.zscore(redis.keys.deadlines, 'j')).toBe(null)
    },
  )

  test('of a plain job whose worker begins between its two looks seals it', async ({ stage }) => {
    await stage.addPlain()
    const queue: JobQueue = {
      ...stage.queue,
      async holds(jobId) {
        await stage.write(started())
        return stage.queue.holds(jobId)
      },
    }
    expect(await stage.cancel({ queue })).toBe('cancelled')
    expect(idsOf(await stage.entries())).toEqual([started().id, SEAL_ID])
  })

  test('of a plain job whose worker ends it between its two looks is too late', async ({ stage }) => {
    await stage.addPlain()
    const queue: JobQueue = {
      ...stage.queue,
      async holds() {
        await stage.write(started(), token(0), end(1))
        return true
      },
    }
    expect(await stage.cancel({ queue })).toBe('already_over')
    expect((await stage.entries()).at(-1)?.event).toBe('end')
  })

  // A plain job can be taken, run and removed between the look at the stream and the one at the queue.
  test('of a plain job that ends between its two looks is too late, and knows the job', async ({ stage }) => {
    await stage.addPlain()
    const queue: JobQueue = {
      ...stage.queue,
      async holds() {
        await stage.write(started(), token(0), end(1))
        return false
      },
    }
    expect(await stage.cancel({ queue })).toBe('already_over')
  })
})
