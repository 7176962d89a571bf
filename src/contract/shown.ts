/** How much of a refused value a message shows. */
export const MAX_SHOWN = 60

/** A value as a message may show it: as JSON, cut when long. */
export function shown(value: unknown): string {
  // Megabytes are not worth quoting for sixty characters.
  const short = typeof value === 'string' ? value.slice(0, MAX_SHOWN + 1) : value
  return cut(JSON.stringify(short) ?? typeof value, MAX_SHOWN)
}

/** The first characters of a text, with an ellipsis if there are more. */
export function cut(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}…` : text
}
