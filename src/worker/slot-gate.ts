import type { Consumer } from '../queue/consumer.ts'
import type { Breaker } from '../replica/breaker.ts'

/** What decides whether slots take jobs. */
export interface SlotGateOptions {
  readonly consumer: Pick<Consumer, 'open' | 'shut' | 'resize'>
  readonly breaker: Breaker
  /** The lease is held, the replica is ready, and the worker is not stopping. */
  readonly ready: () => boolean
  /** How many requests the replica may have open now. */
  readonly slots: () => number
  /** How many of the slots batch jobs may not use. */
  readonly reserved: () => number
  /** How many requests it has open now. */
  readonly busy: () => number
  /** It opened, shut or changed its size. */
  readonly onChange: () => void
}

/** Stands between the queue and the slots. */
export interface SlotGate {
  readonly isOpen: boolean
  /** Brings the consumer in line with what is known; call it after every change, and when an attempt ends. */
  update(): void
  /** Forgets the time it would open by itself. */
  stop(): void
}

/** A gate, shut until it is first updated. */
export function createSlotGate(options: SlotGateOptions): SlotGate {
  const { consumer, breaker } = options
  let reopen: NodeJS.Timeout | undefined

  function isOpen(): boolean {
    return options.ready() && breaker.state !== 'open' && breaker.state !== 'trial'
  }

  /** One more than run now, or none: what runs on a replica that failed others may run for long, and proves nothing. */
  function besideProbe(): number {
    const more = breaker.probe === undefined ? 1 : 0
    return Math.max(1, Math.min(options.slots(), options.busy() + more))
  }

  function update(): void {
    clearTimeout(reopen)
    if (isOpen()) {
      const slots = options.slots()
      const now = breaker.state === 'half_open' ? besideProbe() : slots
      consumer.resize(now, Math.min(now, slots - options.reserved()))
      consumer.open()
    } else consumer.shut()
    // An attempt that ends while the worker stops comes here, too: no process waits for this.
    if (breaker.expiresAt !== undefined)
      reopen = setTimeout(expire, Math.max(1, breaker.expiresAt - performance.now() + 1)).unref()
    options.onChange()
  }

  function expire(): void {
    breaker.expire(performance.now())
    update()
  }

  return {
    get isOpen() {
      return isOpen()
    },
    update,
    stop: () => clearTimeout(reopen),
  }
}
