import { MAX_QUOTE_CHARS, oneLine } from './one-line.ts'

/** Makes a server's text fit for a message. */
export type Quote = (text: string) => string

/**
 * A {@link Quote} that gives one line of at most 200 characters, and withholds a text that repeats a secret.
 * Letter case is no hiding place: TGI compares keys without it (router/src/server.rs, TGI 3.3.7).
 */
export function createQuote(secrets: readonly string[]): Quote {
  const hidden = secrets.filter((secret) => secret !== '').map((secret) => secret.toLowerCase())
  return (text) => {
    const lower = text.toLowerCase()
    if (hidden.some((secret) => lower.includes(secret))) return '(text withheld: it repeats the credentials)'
    return oneLine(text, MAX_QUOTE_CHARS)
  }
}

/** So many characters in a row that were sent, too, are a repetition; all of a shorter text, from four on. */
const RUN = 12
const SHORTEST = 4

/** A quote for what answers a request: it also withholds what repeats any text in it. */
export function quoteWithout(quote: Quote, request: unknown): Quote {
  return (text) => {
    const shown = quote(text)
    const repeated = textsOf(request).some((sent) => repeats(shown, sent))
    return repeated ? '(text withheld: it repeats the request)' : shown
  }
}

function repeats(shown: string, sent: string): boolean {
  const known = oneLine(sent, sent.length).toLowerCase()
  const length = Math.min(RUN, known.length)
  if (length < SHORTEST) return false
  const said = shown.toLowerCase()
  for (let at = 0; at + length <= said.length; at += 1) {
    if (known.includes(said.slice(at, at + length))) return true
  }
  return false
}

/** Every text in a request but the names of roles and kinds, which are the API's words. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === 'role' || key === 'type' ? [] : textsOf(inner),
  )
}
