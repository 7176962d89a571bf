import { createHash, randomUUID } from 'node:crypto'
import { z } from 'zod'

/**
 * A job id: the idempotency key and the name of the job's stream. Digits alone are BullMQ's own ids; and BullMQ 6
 * keeps a job under `<queue>:<id>` beside its own `<queue>:wait`, `<queue>:meta`, … (classes/queue-keys.js), so a
 * job of such a name would overwrite the queue.
 */
export const jobIdSchema = z
  .string()
  .regex(
    /^(?!(?:\d+|active|wait|waiting-children|paused|id|delayed|prioritized|stalled-check|completed|failed|stalled|repeat|limiter|meta|events|pc|marker|de)$)[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
    {
      error:
        'expected 1 to 128 of A-Z a-z 0-9 . _ - with a letter or digit first, not digits only and no word of the queue itself (wait, meta, events, …)',
    },
  )

const nameRule = 'expected 1 to 63 of a-z 0-9 . - with a letter or digit first'

/** A pool's id. */
export const poolIdSchema = z.string().regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, { error: nameRule })

/** A replica's id, unique in its pool. */
export const replicaIdSchema = z.string().regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, { error: nameRule })

/** What producers may hang on a job for their own books: `session_id`, `correlation_id`, `tenant`. */
export const labelSchema = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, { error: 'expected 1 to 64 of A-Z a-z 0-9 . _ -' })

/** A new job id with 122 random bits: anyone who knows it may read the job's events, so it must not be guessable. */
export function newJobId(): string {
  return randomUUID()
}

/** The seed of a job that names none: the first 53 bits of the SHA-256 of its id, so that every attempt has it. */
export function seedOf(jobId: string): number {
  return first53Bits(jobId)
}

/** The seed with which an answer goes on after `nextToken` tokens: that of the job would draw the same numbers again. */
export function seedAfter(seed: number, nextToken: number): number {
  return first53Bits(`${seed}-${nextToken}`)
}

function first53Bits(text: string): number {
  const digest = createHash('sha256').update(text).digest()
  return Number(digest.readBigUInt64BE(0) >> 11n)
}
