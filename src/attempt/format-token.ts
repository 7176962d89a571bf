import type { EventData } from '../contract/event.ts'
import type { TgiToken } from '../tgi/answer.ts'

/**
 * The JSON of a `token` event. Plain tokens are put together by hand: this runs once a token, and JSON.stringify of
 * an object costs three times as much as of its one string.
 *
 * @param firstMs told on the first token: from acceptance to it (ms).
 */
export function formatToken(token: TgiToken, index: number, firstMs?: number): string {
  if (token.special || token.top !== undefined || firstMs !== undefined)
    return JSON.stringify(tokenData(token, index, firstMs))
  return `{"t":${JSON.stringify(token.text)},"i":${index},"id":${token.id},"logprob":${token.logprob}}`
}

/** The same as an object. */
export function tokenData(
  { text, id, logprob, special, top }: TgiToken,
  i: number,
  firstMs?: number,
): EventData['token'] {
  const data: EventData['token'] = { t: text, i, id, logprob }
  if (firstMs !== undefined) data.first_token_ms = firstMs
  if (special) data.special = true
  if (top !== undefined)
    data.top = top.map((other) => ({ id: other.id, t: other.text, logprob: other.logprob }))
  return data
}
