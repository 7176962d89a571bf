import type { Priority } from '../contract/job.ts'

/** How many jobs wait in one queue, and how many bytes the jobs of both queues hold. */
export interface Load {
  readonly jobs: number
  readonly bytes: number
}

/** A job to admit. */
interface AdmissionRequest<T> {
  /** Its queue. Each queue has its own bound for jobs; both share one for bytes. */
  readonly priority: Priority
  /** The load that the caller saw. */
  readonly load: Load
  /** What the job adds. */
  readonly bytes: number
  readonly bound: Load
  /** Whether it is small beside what else it needs room in, as far as the caller knows. */
  readonly hasRoom: () => boolean
  /** Reads the load again; may refuse the job for want of that other room. */
  readonly recount: () => Promise<Load>
  readonly admit: () => Promise<T>
  /** Makes the error for a full queue. */
  readonly refuse: (load: Load) => Error
}

/**
 * Keeps concurrent enqueues of one process within a pool's bounds: a count of waiting jobs is stale by the time the job
 * arrives. Far below the bounds nothing waits; near a bound jobs go one by one, each counted after the one before has arrived.
 * Other processes are unknown here, so together they may exceed a bound by as many jobs as they have in flight.
 */
export interface AdmissionBound {
  /** Runs `admit` when there is room for one more. */
  run<T>(request: AdmissionRequest<T>): Promise<T>
}

/** The bounds of one pool in this process. */
export function createAdmissionBound(): AdmissionBound {
  const underWay = new Set<Promise<unknown>>()
  const sums = { interactive: 0, batch: 0, bytes: 0 }
  let queue: Promise<unknown> = Promise.resolve()
  let queued = 0

  async function track<T>(work: Promise<T>, priority: Priority, bytes: number): Promise<T> {
    const settled = work.catch(() => undefined)
    underWay.add(settled)
    sums[priority] += 1
    sums.bytes += bytes
    try {
      return await work
    } finally {
      underWay.delete(settled)
      sums[priority] -= 1
      sums.bytes -= bytes
    }
  }

  return {
    run({ priority, load, bytes, bound, hasRoom, recount, admit, refuse }) {
      const fits = (now: Load) => now.jobs < bound.jobs && now.bytes + bytes <= bound.bytes
      // What is under way may be in the count already; that only means to look more closely.
      const most = { jobs: load.jobs + sums[priority], bytes: load.bytes + sums.bytes }
      if (queued === 0 && fits(most) && hasRoom()) return track(admit(), priority, bytes)
      queued += 1
      const turn = queue.then(async () => {
        await Promise.all(underWay)
        const now = await recount()
        if (!fits(now)) throw refuse(now)
        return admit()
      })
      queue = turn.then(
        () => undefined,
        () => undefined,
      )
      return turn.finally(() => {
        queued -= 1
      })
    },
  }
}
