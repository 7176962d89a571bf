/* oxlint-disable no-underscore-dangle -- `_zod` is what schemas call of each other */
/** Schemas that look at a bound first. `_zod.run` is what a schema around them calls (zod 4, packages/zod/src/v4/core/schemas.ts). */
import { z } from 'zod'

/** Refuses a value with a message before the schema looks at it. To `z.toJSONSchema` the schema stays what it is. */
export function refuseFirst<T extends z.ZodType>(
  schema: T,
  flawOf: (value: unknown) => string | undefined,
): T {
  const run = schema._zod.run.bind(schema._zod)
  schema._zod.run = (payload, context) => {
    const message = flawOf(payload.value)
    if (message === undefined) return run(payload, context)
    payload.issues.push({ code: 'custom', message, input: payload.value, inst: schema })
    return payload
  }
  return schema
}

/** As many bad elements as a message names. */
const MAX_BAD = 5

/** How many elements an array may have. */
interface ArrayBounds {
  readonly min?: number
  readonly max: number
  /** Whether the schema would certainly return this element as it is: then it is not asked, which takes most of the time. */
  readonly isPlain?: (value: unknown) => boolean
}

/**
 * An array whose length is checked before its elements, and of whose bad elements only the first few are looked at. zod's own makes
 * an issue for each of them before it looks at the length: for a body of 2 MB that took seconds and hundreds of megabytes. To
 * everything else, e.g. `z.toJSONSchema`, this is zod's own.
 */
export function boundedArray<T extends z.ZodType>(
  element: T,
  { min = 0, max, isPlain }: ArrayBounds,
): z.ZodArray<T> {
  const array = min === 0 ? z.array(element).max(max) : z.array(element).min(min).max(max)
  const range = min === 0 ? `at most ${max}` : `${min} to ${max}`
  array._zod.run = (payload, context) => {
    const input: unknown = payload.value
    if (!Array.isArray(input)) {
      payload.issues.push({ code: 'invalid_type', expected: 'array', input, inst: array })
      return payload
    }
    if (input.length < min || input.length > max) {
      const message = `expected an array of ${range}, got one of ${input.length}`
      payload.issues.push({ code: 'custom', message, input, inst: array })
      return payload
    }
    const output: unknown[] = []
    let bad = 0
    for (const [index, value] of input.entries()) {
      if (isPlain?.(value) === true) {
        output.push(value)
        continue
      }
      const result = element._zod.run({ value, issues: [] }, context)
      if (result instanceof Promise) throw new z.core.$ZodAsyncError()
      output.push(result.value)
      if (result.issues.length === 0) continue
      payload.issues.push(...z.core.util.prefixIssues(index, result.issues))
      bad += 1
      if (bad === MAX_BAD) break
    }
    payload.value = output
    return payload
  }
  return array
}
