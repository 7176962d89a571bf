import type { SimulatorOptions } from '../../src/simulator/options.ts'
import { startChild } from './child.ts'

/** How the load generator behaves. */
export type SimulatorSettings = Pick<
  SimulatorOptions,
  'tokensPerSecond' | 'prefillMs' | 'maxConcurrentRequests' | 'maxTotalTokens'
> & {
  /** Tell when requests come and go, at the price of a message each. */
  readonly observed: boolean
  /** Each token's text ends in the time it was written (support/stamped-text.ts). */
  readonly stamped?: boolean | undefined
}

/** What the load generator tells; times are of the machine's monotonic clock (ms). */
export type SimulatorMessage =
  | { readonly kind: 'listening'; readonly url: string }
  | { readonly kind: 'received'; readonly tag: string; readonly atMs: number }
  | { readonly kind: 'closed'; readonly tag: string; readonly atMs: number; readonly outcome: string }

/** When a request was over at the simulator, and how. */
interface Closing {
  readonly atMs: number
  readonly outcome: string
}

/** A simulator in a process of its own. */
export interface SimulatorProcess {
  readonly url: string
  /** When the headers of the request with `[tag:TAG]` in its prompt had arrived; waits for it. */
  received(tag: string): Promise<number>
  /** When that request's response was over or its socket gone; waits for it. */
  closed(tag: string): Promise<Closing>
  /** Whether that request has come by now, as far as has been told. */
  hasReceived(tag: string): boolean
  /** Requests open now, asked over HTTP. */
  openRequests(): Promise<number>
  stop(): Promise<void>
}

/** Starts it; resolves when it listens. */
export async function startSimulatorProcess(settings: SimulatorSettings): Promise<SimulatorProcess> {
  const received = createBoard<number>()
  const closed = createBoard<Closing>()
  const listening = Promise.withResolvers<string>()
  const child = startChild({
    script: new URL('simulator-child.ts', import.meta.url),
    argument: JSON.stringify(settings),
    onMessage(value) {
      // From our own child, whose type is the message's.
      const message = value as SimulatorMessage
      if (message.kind === 'listening') listening.resolve(message.url)
      else if (message.kind === 'received') received.put(message.tag, message.atMs)
      else closed.put(message.tag, message)
    },
    onFault: (error) => {
      listening.reject(error)
      received.fail(error)
      closed.fail(error)
    },
  })
  const url = await listening.promise
  return {
    url,
    received: (tag) => received.get(tag),
    closed: (tag) => closed.get(tag),
    hasReceived: (tag) => received.has(tag),
    async openRequests() {
      const response = await fetch(`${url}/simulator/state`)
      const state: unknown = await response.json()
      if (typeof state !== 'object' || state === null || !('open_requests' in state))
        throw new Error('no state')
      return Number(state.open_requests)
    },
    stop: () => child.stop(),
  }
}

interface Slot<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
  filled: boolean
}

/** Values by name, each put once, asked for before or after. */
function createBoard<T>() {
  const slots = new Map<string, Slot<T>>()
  const slot = (name: string): Slot<T> => {
    let found = slots.get(name)
    if (found === undefined) {
      found = { ...Promise.withResolvers<T>(), filled: false }
      // Nobody may be waiting when the child dies.
      found.promise.catch(() => undefined)
      slots.set(name, found)
    }
    return found
  }
  return {
    put(name: string, value: T): void {
      const filled = slot(name)
      filled.filled = true
      filled.resolve(value)
    },
    get: (name: string) => slot(name).promise,
    has: (name: string) => slots.get(name)?.filled === true,
    fail(error: Error): void {
      for (const { reject } of slots.values()) reject(error)
    },
  }
}
