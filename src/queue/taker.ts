import { randomUUID } from 'node:crypto'
import type { Job } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Priority } from '../contract/job.ts'
import { isConnectionError } from '../redis/fault.ts'
import type { Lane } from './lane.ts'
import { openLookout } from './lookout.ts'

/** At most how many jobs may run at once, those that are being asked for included, when one of a kind is taken. */
type SlotLimits = Readonly<Record<Priority, number>>

/** What takes jobs needs. */
export interface TakerOptions {
  /** In the order in which they are asked. */
  readonly lanes: readonly Lane[]
  /** The pattern of the line that waits. */
  readonly connection: Redis
  readonly limits: SlotLimits
  /** Runs one job and sees it out of its queue, or back. */
  readonly run: (lane: Lane, job: Job, token: string) => Promise<void>
  readonly onError: (error: unknown) => void
}

/** Takes jobs from lanes. */
export interface Taker {
  open(): void
  shut(): void
  resize(limits: SlotLimits): void
  /** Shuts, and resolves when everything that was taken has run. */
  close(): Promise<void>
  /** Lets go of the line that waits. */
  abandon(): void
}

/**
 * A taker, shut. A slot is reserved before a job is asked for, one job is asked for at a time, and a lane only when those
 * before it have just had none: so there is never a job too many, nor a batch job before an interactive one.
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
        // The line comes back by itself.
        if (!isConnectionError(error)) onError(error)
      })
      if (job instanceof Object) {
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

  /** Takes what there is room for. */
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

  /** Something has changed: is there room, may there be a job? */
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
