import { PoolError } from '../contract/error.ts'
import type { Caller } from './caller.ts'

/** Who holds a place: keys are revoked by id, and places are counted by name. */
export type PlaceHolder = Pick<Caller, 'id' | 'name'>

/** Limits on requests that stay open. */
export interface ReaderBounds {
  readonly maxStreams: number
  readonly maxStreamsPerCaller: number
}

/**
 * Places for requests that stay open while a job runs: event streams, and POSTs that wait for the end. Both hold a connection and
 * read the job's events, so they share one limit.
 */
export interface ReaderPlaces {
  /** The number of places taken. */
  readonly size: number
  /**
   * Reserves a place, which is aborted with {@link REVOKED} or {@link STOPPING} when its request must end early.
   *
   * @throws {@link PoolError} `OVERLOADED` when all places are taken or the gateway is stopping; `TOO_MANY_STREAMS` when the caller has
   * reached its limit.
   */
  reserve(caller: PlaceHolder): AbortController
  /** Releases a place. Idempotent. */
  release(place: AbortController): void
  /** Aborts the places of every key that may no longer call, even if another key with the same name may. */
  revoke(mayCall: (id: string) => boolean): void
  /** Aborts all places and refuses new ones. */
  end(): void
}

/** The gateway is stopping. */
export const STOPPING = new PoolError(
  'OVERLOADED',
  'this gateway is stopping; resume at another one, or here later',
)
/** The caller may no longer call. */
export const REVOKED = new PoolError('UNAUTHORIZED', 'the bearer key of this request was revoked')

/** Creates the places of one gateway. */
export function createReaderPlaces({ maxStreams, maxStreamsPerCaller }: ReaderBounds): ReaderPlaces {
  const taken = new Map<AbortController, PlaceHolder>()
  const perCaller = new Map<string, number>()
  let over = false
  return {
    get size() {
      return taken.size
    },
    reserve(caller) {
      if (over) throw STOPPING
      if (taken.size >= maxStreams) {
        throw new PoolError(
          'OVERLOADED',
          `this gateway has reached its limit of ${maxStreams} open event streams`,
        )
      }
      const held = perCaller.get(caller.name) ?? 0
      if (held >= maxStreamsPerCaller) {
        throw new PoolError(
          'TOO_MANY_STREAMS',
          `this caller has reached its limit of ${held} open event streams on this gateway; close some, or use another gateway`,
        )
      }
      const place = new AbortController()
      taken.set(place, caller)
      perCaller.set(caller.name, held + 1)
      return place
    },
    release(place) {
      const name = taken.get(place)?.name
      if (name === undefined) return
      taken.delete(place)
      const left = (perCaller.get(name) ?? 0) - 1
      if (left > 0) perCaller.set(name, left)
      else perCaller.delete(name)
    },
    revoke(mayCall) {
      for (const [place, { id }] of taken) if (!mayCall(id)) place.abort(REVOKED)
    },
    end() {
      over = true
      for (const place of taken.keys()) place.abort(STOPPING)
    },
  }
}
