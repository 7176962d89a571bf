import { QueueKeys } from 'bullmq'
import { QUEUE_NAMES } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { bodyIn } from './job-body.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** A job in a queue, as its producer put it there. */
interface AddedJob {
  readonly id: string
  /** BullMQ's `timestamp`: ms since 1970 by the producer's clock, which may be wrong. */
  readonly addedAtMs: number
  /** Its body; undefined when it is no JSON. */
  readonly body: unknown
}

/** Scans the waiting jobs of all queues of a pool, page by page, again and again. */
export interface WaitingScan {
  /** The ids on the next page of each queue. A job that moved past the page in the meantime comes in the next round. */
  next(): Promise<string[]>
  /** Those of the jobs that still wait. */
  read(ids: readonly string[]): Promise<AddedJob[]>
}

/** Jobs of one queue on a page. */
const PAGE = 1000
/** Bodies read at once; each may be megabytes. */
const BODIES = 16

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

  async function readJob(id: string): Promise<AddedJob[]> {
    for (const queue of queues) {
      const [timestamp, data, priority] = await redis.hmget(
        names.toKey(queue, id),
        'timestamp',
        'data',
        'priority',
      )
      if (typeof timestamp === 'string') {
        const body = bodyIn(queue, Number(priority ?? 0), parse(data ?? null))
        return [{ id, addedAtMs: Number(timestamp), body }]
      }
    }
    return []
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
    async read(ids) {
      const jobs: AddedJob[] = []
      for (let at = 0; at < ids.length; at += BODIES) {
        const read = await Promise.all(ids.slice(at, at + BODIES).map(readJob))
        jobs.push(...read.flat())
      }
      return jobs
    },
  }
}

function parse(data: string | null): unknown {
  try {
    return data === null ? undefined : (JSON.parse(data) as unknown)
  } catch {
    return undefined
  }
}
