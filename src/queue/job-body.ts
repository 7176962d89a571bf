import { FIRST_BATCH_PRIORITY } from '../contract/job.ts'
import { PoolError } from '../contract/error.ts'
import { parseJsonText } from '../contract/json-text.ts'
import { QUEUE_NAMES } from '../contract/keys.ts'
import { MAX_BODY_BYTES } from '../contract/shape.ts'

/** What stands in place of a body that cannot be read. No producer can write one: JSON has no such value. */
export class UnreadableBody {
  /** What is wrong with it; quotes nothing. */
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/**
 * Reads what a producer wrote in BullMQ's `data`, within the bounds of every body. Never throws: V8's own errors quote the prompt,
 * and a job whose body cannot be read has to end like any other bad one.
 *
 * @param data the field as Redis has it; absent, it is an empty body, as BullMQ reads it.
 */
export function readBody(data: string | null | undefined): unknown {
  if (data === null || data === undefined) return {}
  // A character takes one byte at least.
  if (data.length > MAX_BODY_BYTES) return tooLarge(data.length)
  try {
    return parseJsonText(data, 'job')
  } catch (error) {
    if (error instanceof PoolError) return new UnreadableBody(error.message)
    return new UnreadableBody('job: expected JSON, got something that cannot be read')
  }
}

/** Stands for a body that is larger than any that is read. */
export function tooLarge(bytes: number): UnreadableBody {
  return new UnreadableBody(`job: expected at most ${MAX_BODY_BYTES} bytes of JSON, got ${bytes} or more`)
}

/**
 * The body that a producer wrote. Without a priority, its place decides: it is a batch job in the batch queue, or with the
 * priority of batch jobs in the other queue.
 */
export function bodyIn(queue: string, priority: number, body: unknown): unknown {
  if (queue !== QUEUE_NAMES.batch && priority < FIRST_BATCH_PRIORITY) return body
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body
  return body instanceof UnreadableBody ? body : { priority: 'batch', ...body }
}
