import { PRIORITIES } from '../contract/job.ts'
import { QUEUE_NAMES } from '../contract/keys.ts'

/**
 * What a producer wrote. Where it names no priority, it is a batch job by the place where it waits: the batch queue, or
 * batch jobs' priority in the other one.
 */
export function bodyIn(queue: string, priority: number, body: unknown): unknown {
  if (queue !== QUEUE_NAMES.batch && priority < PRIORITIES.batch - 1) return body
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body
  return { priority: 'batch', ...body }
}
