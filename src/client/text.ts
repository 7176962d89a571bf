import { PoolError } from '../contract/error.ts'
import type { EventData, JobEvent } from '../contract/event.ts'
import type { Restart } from '../stream/reader.ts'

/** A job's complete answer. */
export interface JobResult {
  /** The answer, special tokens left out. */
  readonly text: string
  /** The job's `end` event: why it ended, tokens, times, seed. */
  readonly end: EventData['end']
}

/**
 * The text of an answer as it comes: what tokens add, special ones left out. Ends with the answer.
 *
 * What was yielded cannot be taken back. So when Redis lost events and the tokens come again, they are compared
 * with what was yielded and not yielded twice.
 *
 * @throws {@link PoolError} the code of the job's `error` event; `REPLAY_DIVERGED` when tokens that were yielded were
 * lost and generated anew otherwise.
 */
export async function* textOf(
  events: AsyncIterable<JobEvent | Restart>,
): AsyncGenerator<string, EventData['end'] | undefined, undefined> {
  const yielded: string[] = []
  for await (const event of events) {
    if (event.event === 'error') throw jobFailed(event.data)
    if (event.event === 'end') return event.data
    if (event.event !== 'token') continue
    const { i, t, special } = event.data
    const piece = special === true ? '' : t
    const before = yielded[i]
    if (before === undefined) {
      yielded[i] = piece
      if (piece !== '') yield piece
    } else if (before !== piece) {
      throw new PoolError(
        'REPLAY_DIVERGED',
        `Redis lost token ${i} after it was read, and it was generated again otherwise; read again from the start`,
      )
    }
  }
  return undefined
}

/**
 * Waits for a job's end.
 *
 * @throws {@link PoolError} the code of the job's `error` event.
 */
export async function resultOf(events: AsyncIterable<JobEvent | Restart>): Promise<JobResult> {
  for await (const event of events) {
    if (event.event === 'error') throw jobFailed(event.data)
    if (event.event === 'end') return { text: event.data.text, end: event.data }
  }
  throw new PoolError('INTERNAL', 'the events ended without a terminal one')
}

/** A job's `error` event as an error to throw. */
function jobFailed(data: EventData['error']): PoolError {
  return new PoolError(data.code, data.message, { retryAfterMs: data.retry_after_ms, ofJob: true })
}
