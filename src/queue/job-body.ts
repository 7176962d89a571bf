import { FIRST_BATCH_PRIORITY } from '../contract/job.ts'
import { QUEUE_NAMES } from '../contract/keys.ts'

/**
 * The body that a producer wrote. Without a priority, its place decides: it is a batch job in the batch queue, or with the
 * priority of batch jobs in the other queue.
 */
export function bodyIn(queue: string, priority: number, body: unknown): unknown {
  if (queue !== QUEUE_NAMES.batch && priority < FIRST_BATCH_PRIORITY) return body
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body
  return { priority: 'batch', ...body }
}
