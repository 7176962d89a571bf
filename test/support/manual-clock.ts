import type { Clock } from '../../src/simulator/clock.ts'

/** A simulator's clock that stands still until a test moves it. */
export interface ManualClock extends Clock {
  /** Moves the clock; what falls due on the way happens before this returns, each thing at its own time. */
  advance(ms: number): void
  /** Has it run by itself, ten times as fast as a real one, until the function it returns is called. */
  run(): () => void
}

/** A clock at 0. A simulator on it looks for what is due every 5 ms, so advance it by multiples of 5. */
export function createManualClock(): ManualClock {
  const timers = new Set<{ readonly ms: number; readonly action: () => void; dueMs: number }>()
  let nowMs = 0
  let isRunning = false
  let running: NodeJS.Timeout | undefined

  function advance(ms: number): void {
    const untilMs = nowMs + ms
    for (;;) {
      const [next] = [...timers].toSorted((a, b) => a.dueMs - b.dueMs)
      if (next === undefined || next.dueMs > untilMs) break
      nowMs = next.dueMs
      next.dueMs += next.ms
      next.action()
    }
    nowMs = untilMs
  }
  /** Runs only while something waits for it, so that no timer is left when the simulator has stopped. */
  function runOrRest(): void {
    if (isRunning && timers.size > 0) {
      running ??= setInterval(() => advance(50), 5)
    } else {
      clearInterval(running)
      running = undefined
    }
  }

  return {
    now: () => nowMs,
    every(ms, action) {
      const timer = { ms, action, dueMs: nowMs + ms }
      timers.add(timer)
      runOrRest()
      return () => {
        timers.delete(timer)
        runOrRest()
      }
    },
    advance,
    run() {
      isRunning = true
      runOrRest()
      return () => {
        isRunning = false
        runOrRest()
      }
    },
  }
}
