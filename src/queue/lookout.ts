import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { disconnectRedis } from '../redis/connect.ts'
import { isConnectionError } from '../redis/fault.ts'
import type { Lane } from './lane.ts'

/** Waits until a lane may have a job. */
export interface Lookout {
  /**
   * Resolves to the first lane that reports a job, or to undefined when it is time to look anyway. Never throws.
   */
  wait(lanes: readonly Lane[]): Promise<Lane | undefined>
  /** Ends the wait. Idempotent. */
  close(): void
}

/** The longest wait (ms). A worker that freezes in its wait consumes one wake-up; another worker looks after this time. */
const MAX_WAIT_MS = 1000
/** The shortest wait (ms): a queue may not hand out its next job yet although it is due. */
const MIN_WAIT_MS = 5
/** A connection that does not answer for this long after the wait is broken (ms). */
const SILENCE_MS = 1000
/** Pause after a fault of the connection (ms). */
const PAUSE_MS = 500

/** A lookout on a blocking connection of its own, made like the given one. */
export function openLookout(connection: Redis, onError: (error: unknown) => void): Lookout {
  // No resending: after a broken wait the caller waits again.
  const line = connection.duplicate({ maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false })
  line.on('error', () => undefined)
  line.connect().catch(() => undefined)
  const closed = new AbortController()

  async function waitOnLine(lanes: readonly Lane[]): Promise<Lane | undefined> {
    const due = (await Promise.all(lanes.map((lane) => lane.nextDue()))).filter((at) => at !== undefined)
    const waitMs = Math.max(MIN_WAIT_MS, Math.min(MAX_WAIT_MS, Math.min(...due, Infinity) - Date.now()))
    const silent = new AbortController()
    const silence = sleep(waitMs + SILENCE_MS, 'silent' as const, { signal: silent.signal })
    silence.catch(() => undefined)
    try {
      const markers = lanes.map(({ marker }) => marker)
      const popped = line.bzpopmin(markers, waitMs / 1000)
      popped.catch(() => undefined)
      const answer = await Promise.race([popped, silence])
      if (answer !== 'silent') return lanes.find(({ marker }) => marker === answer?.[0])
      // One that was closed meanwhile must not connect again.
      if (!closed.signal.aborted) line.disconnect(true)
      return undefined
    } finally {
      silent.abort()
    }
  }

  return {
    async wait(lanes) {
      try {
        return await waitOnLine(lanes)
      } catch (error) {
        if (closed.signal.aborted) return undefined
        if (!isConnectionError(error)) onError(error)
        await sleep(PAUSE_MS, undefined, { signal: closed.signal }).catch(() => undefined)
        return undefined
      }
    },
    close() {
      closed.abort()
      disconnectRedis(line)
    },
  }
}
