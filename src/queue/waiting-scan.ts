import { setImmediate as nextTurn } from 'node:timers/promises'
import { QueueKeys } from 'bullmq'
import { QUEUE_NAMES } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { MAX_BODY_BYTES } from '../contract/shape.ts'
import { bodyIn, readBody, tooLarge } from './job-body.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** A job in a queue, as its producer put it there. */
interface AddedJob {
  readonly id: string
  /** BullMQ's `timestamp`: ms since 1970 by the producer's clock, which may be wrong. */
  readonly addedAtMs: number
  /** Its body, or that it cannot be read. */
  readonly body: unknown
}

/** Scans the waiting jobs of all queues of a pool, page by page, again and again. */
export interface WaitingScan {
  /** The ids on the next page of each queue. A job that moved past the page in the meantime comes in the next round. */
  next(): Promise<string[]>
  /** Those of the jobs that still wait, one at a time: a body may be megabytes, and take as long to read as one turn may last. */
  read(ids: readonly string[]): AsyncGenerator<AddedJob>
}

/** Jobs of one queue on a page. */
const PAGE = 1000

/** Starts at the first page. */
export function startWaitingScan(redis: RedisConnection, keys: PoolKeys): WaitingScan {
  const names = new QueueKeys(keys.queuePrefix)
  const queues = Object.values(QUEUE_NAMES)
  const lines = queues.flatMap((queue) =>
    (['wait', 'paused', 'prioritized', 'delayed'] as const).map((type) => {
      const key = names.toKey(queue, type)
      const isList = type === 'wait' || type === 'paused'
      const range = (from: number, to: number): Promise<string[]> =>
        isList ? redis.lrange(key, from, to) : redis.zrange(key, String(from), String(to))
      return { range, from: 0 }
    }),
  )

  async function readJob(id: string): Promise<AddedJob | undefined> {
    for (const queue of queues) {
      const key = names.toKey(queue, id)
      const [[timestamp, priority], bytes] = await Promise.all([
        redis.hmget(key, 'timestamp', 'priority'),
        redis.hstrlen(key, 'data'),
      ])
      if (typeof timestamp !== 'string') continue
      const body = bytes > MAX_BODY_BYTES ? tooLarge(bytes) : readBody(await redis.hget(key, 'data'))
      return { id, addedAtMs: Number(timestamp), body: bodyIn(queue, Number(priority ?? 0), body) }
    }
    return undefined
  }

  return {
    async next() {
      const pages = await Promise.all(
        lines.map(async (line) => {
          const page = await line.range(line.from, line.from + PAGE - 1)
          line.from = page.length < PAGE ? 0 : line.from + PAGE
          return page
        }),
      )
      // BullMQ's own entry in the list (a marker of old versions) is no job.
      return pages.flat().filter((id) => !id.startsWith('0:'))
    },
    async *read(ids) {
      for (const id of ids) {
        const job = await readJob(id).catch((error: unknown) => {
          // An id whose key is no job must not hide those behind it.
          if (!String(error).includes('WRONGTYPE')) throw error
        })
        if (job !== undefined) yield job
        await nextTurn()
      }
    },
  }
}
