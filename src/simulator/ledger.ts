import type { Clock } from './clock.ts'

/** Where a generation request is. */
type RequestPhase =
  | 'received'
  | 'queued'
  | 'prefill'
  | 'decoding'
  | 'halted'
  | 'finished'
  | 'failed'
  | 'aborted'

/** How a request ended: whole, in an error or a fault, or by its client's going away. */
export type Outcome = 'finished' | 'failed' | 'aborted'

/** One of the last requests, as `/simulator/state` tells it; never with its prompt. */
interface RequestState {
  /** From 1, in the order of arrival. */
  readonly n: number
  /** Milliseconds since 1970. */
  readonly started_at_ms: number
  readonly state: RequestPhase
  /** Tokens decoded for it. */
  readonly tokens: number
}

/** What the simulator is doing and has done. Only requests that reached a handler of a generating route count. */
export interface SimulatorState {
  /** Requests whose response is open. */
  readonly open_requests: number
  /** Requests that hold a place on the "GPU"; one whose client has left holds it until its next token. */
  readonly running: number
  /** Requests behind them, the left ones too until their turn comes. */
  readonly queued: number
  readonly permits_in_use: number
  readonly requests_total: number
  readonly finished_total: number
  readonly failed_total: number
  readonly aborted_total: number
  readonly tokens_total: number
  readonly open_sockets: number
  /** The last 50, oldest first. */
  readonly requests: readonly RequestState[]
}

/** A request as an observer sees it; times are on the simulator's clock, `performance.now()` unless another is given. */
interface ObservedRequest {
  readonly n: number
  /** The text of `[tag:TEXT]` in the prompt, to tell requests apart without showing prompts. */
  readonly tag: string | undefined
  /** When its headers had arrived. */
  readonly receivedAtMs: number
}

/** Hooks into a simulator in the same process. They are called synchronously and must not throw. */
export interface SimulatorObserver {
  /** The request has reached its handler. */
  requestReceived?(request: ObservedRequest): void
  /** Its response is over or its socket gone. */
  requestClosed?(
    request: ObservedRequest & {
      readonly closedAtMs: number
      readonly outcome: Outcome
      readonly tokens: number
    },
  ): void
}

/** One request's line in the ledger. */
export interface Entry {
  phase: RequestPhase
  tokens: number
  /** Closes it, once; later calls do nothing. */
  close(outcome: Outcome): void
}

/** The book of all requests, for the state and the observer. */
export interface Ledger {
  open(prompt: string, receivedAtMs: number): Entry
  tokensTotal: number
  /** All of the state that the ledger knows. */
  state(): Omit<SimulatorState, 'running' | 'queued' | 'permits_in_use' | 'open_sockets'>
}

const KEPT = 50

/** An empty ledger. */
export function createLedger(observer: SimulatorObserver, clock: Clock): Ledger {
  const totals = { requests: 0, finished: 0, failed: 0, aborted: 0 }
  const last: { readonly n: number; readonly startedAtMs: number; readonly entry: Entry }[] = []
  let openRequests = 0

  const ledger: Ledger = {
    tokensTotal: 0,
    open(prompt, receivedAtMs) {
      totals.requests += 1
      openRequests += 1
      const tag = /\[tag:([^\]]{1,200})\]/.exec(prompt)?.[1]
      const observed = { n: totals.requests, tag, receivedAtMs }
      let isOpen = true
      const entry: Entry = {
        phase: 'received',
        tokens: 0,
        close(outcome) {
          if (!isOpen) return
          isOpen = false
          openRequests -= 1
          totals[outcome] += 1
          entry.phase = outcome
          const { tokens } = entry
          observer.requestClosed?.({ ...observed, closedAtMs: clock.now(), outcome, tokens })
        },
      }
      last.push({ n: observed.n, startedAtMs: Date.now(), entry })
      if (last.length > KEPT) last.shift()
      observer.requestReceived?.(observed)
      return entry
    },
    state: () => ({
      open_requests: openRequests,
      requests_total: totals.requests,
      finished_total: totals.finished,
      failed_total: totals.failed,
      aborted_total: totals.aborted,
      tokens_total: ledger.tokensTotal,
      requests: last.map(({ n, startedAtMs, entry }) => ({
        n,
        started_at_ms: startedAtMs,
        state: entry.phase,
        tokens: entry.tokens,
      })),
    }),
  }
  return ledger
}
