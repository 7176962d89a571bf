import type { Outcome, SimulatorObserver } from '../../src/simulator/ledger.ts'

/** One generating request as its simulator saw it; times are `performance.now()` of this process. */
interface SeenRequest {
  readonly n: number
  /** The text of `[tag:TEXT]` in the prompt. */
  readonly tag: string | undefined
  readonly receivedAtMs: number
  closedAtMs: number | undefined
  outcome: Outcome | undefined
  tokens: number
}

/** Watches a simulator's requests: every one of them, and how many were open at once. */
export interface Gauge extends Required<SimulatorObserver> {
  /** Requests that are open now. */
  readonly open: number
  /** The most that were ever open at once. */
  readonly most: number
  readonly requests: readonly SeenRequest[]
}

/** A gauge that has seen nothing yet. */
export function createGauge(): Gauge {
  const requests: SeenRequest[] = []
  let open = 0
  let most = 0
  return {
    get open() {
      return open
    },
    get most() {
      return most
    },
    requests,
    requestReceived({ n, tag, receivedAtMs }) {
      requests.push({ n, tag, receivedAtMs, closedAtMs: undefined, outcome: undefined, tokens: 0 })
      open += 1
      most = Math.max(most, open)
    },
    requestClosed({ n, closedAtMs, outcome, tokens }) {
      open -= 1
      const request = requests.find((other) => other.n === n)
      if (request !== undefined) Object.assign(request, { closedAtMs, outcome, tokens })
    },
  }
}
