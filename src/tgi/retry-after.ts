/** Longest wait (ms): the server may be wrong, and jobs have deadlines. */
const MAX_RETRY_AFTER_MS = 30_000

/** Headers, names in lower case, as undici gives them. */
type Headers = Readonly<Record<string, string | readonly string[] | undefined>>

/**
 * The server's `Retry-After` (ms, from 0 to 30,000); undefined without one that is valid by RFC 9110, 10.2.3. Seconds may have a
 * fraction, which some servers send. A date counts from the `date` of the same response, so the clocks need not agree. Of several
 * headers the longest time counts.
 */
export function retryAfterMsOf(headers: Headers, nowMs: number = Date.now()): number | undefined {
  const sentAt = dateOf(textsOf(headers['date'])[0] ?? '') ?? nowMs
  const waits = textsOf(headers['retry-after'])
    .map((text) => waitOf(text.trim(), sentAt))
    .filter((ms) => ms !== undefined)
  return waits.length === 0 ? undefined : Math.min(Math.max(...waits), MAX_RETRY_AFTER_MS)
}

function textsOf(header: string | readonly string[] | undefined): readonly string[] {
  if (header === undefined) return []
  return typeof header === 'string' ? [header] : header
}

function waitOf(text: string, sentAt: number): number | undefined {
  if (/^\d+(?:\.\d+)?$/.test(text)) return Math.ceil(Number(text) * 1000)
  const at = dateOf(text)
  return at === undefined ? undefined : Math.max(0, at - sentAt)
}

/** The three forms of RFC 9110, 5.6.7; the last one, asctime's, omits GMT. */
const DATE =
  /^(?:[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT|[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d [\d:]{8} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4})$/

function dateOf(text: string): number | undefined {
  if (!DATE.test(text)) return undefined
  const at = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Number.isNaN(at) ? undefined : at
}
