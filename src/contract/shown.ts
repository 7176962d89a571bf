/** How much of an invalid value an error message shows (characters). */
export const MAX_SHOWN = 60

/** Formats a value for an error message: as JSON, shortened. Objects, arrays and values that JSON lacks are shown by kind only. */
export function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
      // Cut first, so that a long string is not quoted as a whole.
      return cut(JSON.stringify(value.slice(0, MAX_SHOWN + 1)), MAX_SHOWN)
    case 'object':
      return kindOf(value)
    case 'undefined':
      return 'nothing'
    case 'bigint':
    case 'boolean':
    case 'number':
      // JSON has no NaN, and writes null instead.
      return cut(String(value), MAX_SHOWN)
    case 'function':
    case 'symbol':
      return `a ${typeof value}`
  }
}

/** The kind of a value, without its content: `null`, `an empty string`, `a string of 5 characters`, `an array of 2`. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (value === undefined) return 'nothing'
  if (value === '') return 'an empty string'
  if (Number.isNaN(value)) return 'NaN'
  if (typeof value === 'string') return `a string of ${value.length} characters`
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : `an array of ${value.length}`
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** The first characters of a text, with an ellipsis if there are more. */
export function cut(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}…` : text
}
