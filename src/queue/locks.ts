import type { Lane } from './lane.ts'

/** The part of a lock's time in which it is trusted. */
const TRUST = 0.9

/** A job's lock that this process holds. */
interface Lock {
  /** Aborted when it can no longer be trusted. */
  readonly lost: AbortSignal
  /** Asks Redis whether the lock is still ours, and renews it. Throws if Redis does not answer. */
  confirm(): Promise<boolean>
  /** Stops renewing the lock: the job has left. */
  release(): void
}

/** A lock that was just taken. */
interface TakenLock {
  readonly lane: Lane
  readonly id: string
  readonly token: string
  /** How long ago its time began (ms). */
  readonly age: number
}

/** All locks of one process. */
export interface Locks {
  keep(taken: TakenLock): Lock
  /** Aborts all locks and stops renewing them. */
  abandon(): void
  /** Stops renewing locks. */
  stop(): void
}

interface Held extends TakenLock {
  readonly lost: AbortController
  /** When trust ends (performance.now()). */
  until: number
}

/** Renews locks five times in the time in which they expire. */
export function keepLocks(lockMs: number, onError: (error: unknown) => void): Locks {
  // By lock, not by job: a job that came back while its older attempt is still ending is held twice.
  const held = new Set<Held>()
  const trustMs = lockMs * TRUST

  /** Renews locks; returns the lost ones. */
  async function renew(locks: readonly Held[]): Promise<Held[]> {
    const from = performance.now()
    const lost = await Promise.all(
      [...Map.groupBy(locks, ({ lane }) => lane)].map(async ([lane, mine]) => {
        const failed = new Set(await lane.renew(mine))
        return mine.filter(({ id }) => failed.has(id))
      }),
    )
    const failed = new Set(lost.flat())
    for (const lock of locks) if (!failed.has(lock)) lock.until = from + trustMs
    return [...failed]
  }

  function beat(): void {
    const now = performance.now()
    for (const lock of held) if (now >= lock.until) lock.lost.abort(new Error('the lock on the job expired'))
    const locks = [...held].filter((lock) => !lock.lost.signal.aborted)
    if (locks.length === 0) return
    renew(locks).then((failed) => {
      for (const lock of failed) lock.lost.abort(new Error('another worker has the lock on the job'))
    }, onError)
  }

  const timer = setInterval(beat, lockMs / 5)
  return {
    keep(taken) {
      const until = performance.now() - taken.age + trustMs
      const lock: Held = { ...taken, lost: new AbortController(), until }
      held.add(lock)
      return {
        lost: lock.lost.signal,
        confirm: async () => (await renew([lock])).length === 0,
        release: () => void held.delete(lock),
      }
    },
    abandon() {
      clearInterval(timer)
      for (const lock of held) lock.lost.abort(new Error('the worker let go of the job'))
    },
    stop: () => clearInterval(timer),
  }
}
