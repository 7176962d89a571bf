import type { z } from 'zod'
import { PoolError } from './error.ts'
import { MAX_SHOWN, cut, kindOf, shown } from './shown.ts'
import { describeUnknown } from './unknown-fields.ts'

/** Fields whose values are a user's words. */
const PRIVATE = new Set(['inputs', 'messages', 'content', 'text', 'stop', 'grammar'])

/**
 * Checks a value from outside against a schema.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` that names every fault: where, what was expected, what was got.
 * Values of fields that hold a user's words are described by type and length only.
 */
export function parseOrThrow<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value, { reportInput: true })
  if (result.success) return result.data
  throw new PoolError('INVALID_PARAMS', `${what}: ${formatIssues(result.error)}`)
}

/** One line for all issues of a zod error, most specific first as zod found them, at most five. */
export function formatIssues(error: z.ZodError): string {
  const first = error.issues.slice(0, 5).map(formatIssue)
  const more = error.issues.length - first.length
  return first.join('; ') + (more > 0 ? `; and ${more} more` : '')
}

function formatIssue(issue: z.core.$ZodIssue): string {
  const where = issue.path.length === 0 ? '' : `${cut(issue.path.map(String).join('.'), MAX_SHOWN)}: `
  if (issue.code === 'unrecognized_keys') {
    const isOurs = issue.message.startsWith('unknown field')
    return where + (isOurs ? issue.message : describeUnknown(issue.keys, []))
  }
  const message = issue.message.replace(/^Invalid (input|string): /, '')
  const { input, path } = issue
  if (issue.code === 'invalid_type' && (input === undefined || input === ''))
    return where + message.replace(/, received .*/, `, got ${kindOf(input)}`)
  if (/\bgot\b|\breceived\b/.test(message)) return where + message.replace('received', 'got')
  const isPrivate = path.some((key) => PRIVATE.has(String(key))) || input === ''
  return `${where}${message}, got ${isPrivate ? kindOf(input) : shown(input)}`
}
