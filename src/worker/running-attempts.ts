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
  interrupt(jobId: string, kind: InterruptionKind): void
  interruptAll(kind: InterruptionKind): void
  /** Resolves when those that run now are over. */
  idle(): Promise<unknown>
}

interface Running {
  readonly jobId: string
  readonly interrupt: AbortController
  done: Promise<unknown>
}

/** No attempts yet. */
export function createRunningAttempts(): RunningAttempts {
  const running = new Set<Running>()

  return {
    get busy() {
      return running.size
    },
    ids: () => [...new Set([...running].map(({ jobId }) => jobId))],
    async run(jobId, attempt) {
      const earlier = [...running].filter((other) => other.jobId === jobId)
      const mine: Running = { jobId, interrupt: new AbortController(), done: Promise.resolve() }
      running.add(mine)
      const work = Promise.all(earlier.map(({ done }) => done)).then(() => attempt(mine.interrupt))
      mine.done = work.catch(() => undefined)
      try {
        return await work
      } finally {
        running.delete(mine)
      }
    },
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
