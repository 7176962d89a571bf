import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Priority } from '../contract/job.ts'
import { isConnectionError } from '../redis/fault.ts'
import type { Lane, QueuedJob } from './lane.ts'
import { openLookout } from './lookout.ts'

/** Most jobs at once, those being fetched included, when a job of each kind is taken. */
type SlotLimits = Readonly<Record<Priority, number>>

/** What a taker needs. */
export interface TakerOptions {
  /** In the order in which they are asked for jobs. */
  readonly lanes: readonly Lane[]
  /** The blocking connection is made like this one. */
  readonly connection: Redis
  readonly limits: SlotLimits
  /** Runs one job, then removes it from its queue or puts it back. */
  readonly run: (lane: Lane, job: QueuedJob, token: string) => Promise<void>
  readonly onError: (error: unknown) => void
}

/** Takes jobs from lanes. */
export interface Taker {
  open(): void
  shut(): void
  resize(limits: SlotLimits): void
  /** Shuts, and resolves when every taken job has run. */
  close(): Promise<void>
  /** Drops the blocking connection. */
  abandon(): void
}

/**
 * A taker, shut. It reserves a slot before it asks for a job, asks for one job at a time, and asks a lane only if those before it
 * just had none. So it never takes a job too many, nor a batch job before an interactive one.
 */
export function createTaker({ lanes, connection, run, onError, ...options }: TakerOptions): Taker {
  const lookout = openLookout(connection, onError)
  const work = new Set<Promise<void>>()
  let { limits } = options
  const closing = new AbortController()
  let [isOpen, isWatching] = [false, false]
  let running = 0
  let filling: Promise<void> | undefined
  let again = false
  let changed = Promise.withResolvers<void>()

  const hasRoom = ({ kind }: Lane) => isOpen && running < Math.min(limits.interactive, limits[kind])

  async function takeNext(): Promise<boolean> {
    for (const lane of lanes) {
      if (!hasRoom(lane)) continue
      running += 1
      const token = randomUUID()
      const job = await lane.take(token).catch((error: unknown) => {
        // The connection recovers by itself.
        if (!isConnectionError(error)) onError(error)
      })
      if (job !== undefined) {
        const done = run(lane, job, token)
          .catch(onError)
          .finally(() => {
            work.delete(done)
            running -= 1
            look()
          })
        work.add(done)
        return true
      }
      running -= 1
    }
    return false
  }

  /** Takes as many jobs as there is room for. */
  function fill(): Promise<void> {
    again = true
    filling ??= (async () => {
      while (again) {
        again = false
        while (await takeNext());
      }
      filling = undefined
    })()
    return filling
  }

  /** Called after a change: takes jobs if there is room and may be a job. */
  function look(): void {
    changed.resolve()
    changed = Promise.withResolvers<void>()
    void fill()
  }

  async function watch(): Promise<void> {
    while (!closing.signal.aborted) {
      await fill()
      const open = lanes.filter(hasRoom)
      if (open.length === 0) {
        await changed.promise
        continue
      }
      const called = await lookout.wait(open)
      await fill()
      // Another worker may have room.
      if (called !== undefined && !hasRoom(called)) await called.wake().catch(onError)
    }
  }

  return {
    open() {
      if (closing.signal.aborted || isOpen) return
      isOpen = true
      look()
      if (!isWatching) void watch()
      isWatching = true
    },
    shut() {
      isOpen = false
    },
    resize(next) {
      limits = next
      look()
    },
    async close() {
      isOpen = false
      closing.abort()
      lookout.close()
      changed.resolve()
      await filling
      await Promise.all(work)
    },
    abandon: () => lookout.close(),
  }
}
