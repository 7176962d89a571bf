import { Interruption } from '../attempt/interruption.ts'
import type { InterruptionKind } from '../attempt/interruption.ts'

/** The attempts of one worker that are under way, by job. */
export interface RunningAttempts {
  /** Slots in use. */
  readonly busy: number
  /** The jobs. */
  ids(): string[]
  /**
   * Runs an attempt; its slot is taken at once. An older attempt of the same job, whose lock was lost and came back,
   * is waited for first: two attempts of one job never run beside each other here.
   */
  run<T>(jobId: string, attempt: (interrupt: AbortController) => Promise<T>): Promise<T>
  /** Runs a request of the worker's own in a slot, like an attempt. */
  runOwn<T>(work: (interrupt: AbortController) => Promise<T>): Promise<T>
  interrupt(jobId: string, kind: InterruptionKind): void
  interruptAll(kind: InterruptionKind): void
  /** Resolves when those that run now are over. */
  idle(): Promise<unknown>
}

interface Running {
  /** Undefined for a request of the worker's own. */
  readonly jobId: string | undefined
  readonly interrupt: AbortController
  done: Promise<unknown>
}

/** No attempts yet. */
export function createRunningAttempts(): RunningAttempts {
  const running = new Set<Running>()

  async function track<T>(
    jobId: string | undefined,
    begin: (interrupt: AbortController) => Promise<T>,
  ): Promise<T> {
    const mine: Running = { jobId, interrupt: new AbortController(), done: Promise.resolve() }
    running.add(mine)
    const work = begin(mine.interrupt)
    mine.done = work.catch(() => undefined)
    try {
      return await work
    } finally {
      running.delete(mine)
    }
  }

  return {
    get busy() {
      return running.size
    },
    ids: () => [...new Set([...running].flatMap(({ jobId }) => jobId ?? []))],
    run(jobId, attempt) {
      const earlier = [...running].filter((other) => other.jobId === jobId)
      return track(jobId, async (interrupt) => {
        await Promise.all(earlier.map(({ done }) => done))
        return attempt(interrupt)
      })
    },
    runOwn: (work) => track(undefined, work),
    interrupt(jobId, kind) {
      for (const attempt of running)
        if (attempt.jobId === jobId) attempt.interrupt.abort(new Interruption(kind))
    },
    interruptAll(kind) {
      for (const { interrupt } of running) interrupt.abort(new Interruption(kind))
    },
    idle: () => Promise.all([...running].map(({ done }) => done)),
  }
}
