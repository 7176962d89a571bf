/** How deep objects and arrays of a body may be nested: far more than any grammar, far less than any stack. */
export const MAX_DEPTH = 64

/** Whether a value is nested deeper than {@link MAX_DEPTH}. Level by level: a walk that calls itself ends with the stack. */
export function isTooDeep(value: unknown): boolean {
  let level = [value]
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth >= MAX_DEPTH) return true
    level = level.flatMap((outer) =>
      typeof outer === 'object' && outer !== null
        ? Object.values(outer).filter((inner) => typeof inner === 'object' && inner !== null)
        : [],
    )
  }
  return false
}
