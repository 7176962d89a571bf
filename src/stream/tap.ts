import type { JobEvent } from '../contract/event.ts'
import { compareIds } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'

/** One reader's share of a feed. */
export interface Tap {
  /**
   * The events that came since, at least one; undefined when no more will come from here, whatever the reason: read
   * from the log.
   *
   * @throws PoolError `INTERNAL` for an entry that does not fit the contract.
   */
  next(): Promise<readonly JobEvent[] | undefined>
  /** Takes no more. Idempotent. */
  end(): void
}

/** The feed's side of a tap. */
export interface TapInlet extends Tap {
  /** Hands over what its stream brought; what the reader has already is left out. */
  push(events: readonly JobEvent[]): void
  fail(error: unknown): void
}

/**
 * The most events that wait for one reader; then it loses its tap and reads from the log again. A reader that keeps up
 * has a few; 1,000 readers that stand still hold at most some 100 MB (200 bytes a token).
 */
const MAX_PENDING = 512

/** A tap of a reader that has read up to `cursor`. */
export function createTap(cursor: Cursor, onEnd: () => void): TapInlet {
  let last = cursor
  let pending: JobEvent[] = []
  let wake: (() => void) | undefined
  let failure: { readonly error: unknown } | undefined
  let over = false

  function end(): void {
    if (over) return
    over = true
    onEnd()
    wake?.()
  }

  return {
    push(events) {
      for (const event of events) {
        if (compareIds(event.id, last) <= 0) continue
        pending.push(event)
        last = event.id
      }
      if (pending.length > MAX_PENDING) {
        pending = []
        end()
      } else if (pending.length > 0) {
        wake?.()
      }
    },
    fail(error) {
      failure = { error }
      end()
    },
    async next() {
      if (pending.length === 0 && !over) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        wake = undefined
      }
      if (pending.length > 0) {
        const events = pending
        pending = []
        return events
      }
      if (failure !== undefined) throw failure.error
      return undefined
    },
    end,
  }
}
