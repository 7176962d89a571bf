import { PoolError } from './error.ts'
import { shown } from './shown.ts'

/**
 * The largest body of a job (bytes of its JSON), whatever its pool allows: reading it must not hold a process up. TGI reads
 * 2,000,000 unless it was started with another limit.
 */
export const MAX_BODY_BYTES = 8 * 1024 * 1024

/** How deep objects and arrays of a body may be nested: far more than any grammar, far less than any stack. */
export const MAX_DEPTH = 64
/**
 * How many values a body may have: objects, arrays, strings, numbers, true, false and null, at every depth; keys do not count. A
 * chat of 10,000 messages has 30,001. Each value costs about a microsecond, and memory, long after it was parsed.
 */
export const MAX_VALUES = 50_000
/** How many keys an object may have. Each costs as much as several values. */
export const MAX_KEYS = 10_000

/** Most levels and values of a body, and most keys of an object in it. */
export interface Bounds {
  readonly depth: number
  readonly values: number
  readonly keys: number
}

/** The bounds of every body. */
export const BODY_BOUNDS: Bounds = { depth: MAX_DEPTH, values: MAX_VALUES, keys: MAX_KEYS }

/** Which bound a value exceeds. */
export type Excess = keyof Bounds

/** What was expected of a value that exceeds a bound. */
export function describeExcess(excess: Excess, bounds: Bounds = BODY_BOUNDS): string {
  switch (excess) {
    case 'depth':
      return `expected objects and arrays at most ${bounds.depth} deep, got deeper ones`
    case 'values':
      return `expected at most ${bounds.values} values at all depths together, got more`
    case 'keys':
      return `expected objects of at most ${bounds.keys} fields, got more`
  }
}

/**
 * Which bound a value exceeds, if any. Stops there, and looks at no element of an array that alone has too many. Level by level: a
 * walk that calls itself ends with the stack.
 */
export function findExcess(value: unknown, bounds: Bounds = BODY_BOUNDS): Excess | undefined {
  return createMeter(bounds)(value, 0)
}

/**
 * Refuses a job that exceeds {@link BODY_BOUNDS}.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` that names the field.
 */
export function checkShape(value: unknown, what: string): void {
  const add = createMeter(BODY_BOUNDS)
  const refuse = (where: string, excess: Excess) =>
    new PoolError('INVALID_PARAMS', `${what}: ${where}${describeExcess(excess)}`)
  if (!isContainer(value) || Array.isArray(value)) {
    const excess = add(value, 0)
    if (excess !== undefined) throw refuse('', excess)
    return
  }
  const entries = Object.entries(value)
  if (entries.length > MAX_KEYS) throw refuse('', 'keys')
  for (const [key, inner] of entries) {
    const excess = add(inner, 1)
    if (excess !== undefined) throw refuse(`${shown(key)}: `, excess)
  }
}

/** Adds values up, level by level. */
function createMeter(bounds: Bounds): (value: unknown, depth: number) => Excess | undefined {
  let values = 0
  return (value, outerDepth) => {
    values += 1
    if (values > bounds.values) return 'values'
    let level = [value].filter(isContainer)
    for (let depth = outerDepth; level.length > 0; depth += 1) {
      if (depth >= bounds.depth) return 'depth'
      const next: object[] = []
      for (const outer of level) {
        // Bytes are no JSON, and each would be a value.
        if (ArrayBuffer.isView(outer)) values += outer.byteLength
        if (values > bounds.values) return 'values'
        // Counted before anything is copied: an array may have more elements than memory has room for.
        const inner: readonly unknown[] = Array.isArray(outer) ? outer : Object.values(outer)
        if (inner !== outer && inner.length > bounds.keys) return 'keys'
        values += inner.length
        if (values > bounds.values) return 'values'
        for (const each of inner) if (isContainer(each)) next.push(each)
      }
      level = next
    }
    return undefined
  }
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
