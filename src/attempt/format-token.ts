import type { EventData } from '../contract/event.ts'
import type { TgiToken } from '../tgi/answer.ts'

/** What only the first token carries. */
export type FirstTokenTimes = Required<Pick<EventData['token'], 'first_token_ms' | 'ttft_ms'>>

/**
 * The JSON of a `token` event. Plain tokens are put together by hand: this runs once a token, and JSON.stringify of
 * an object costs three times as much as of its one string.
 *
 * @param times given for the first token.
 */
export function formatToken(token: TgiToken, index: number, times?: FirstTokenTimes): string {
  if (token.special || token.top !== undefined || times !== undefined)
    return JSON.stringify(tokenData(token, index, times))
  return `{"t":${JSON.stringify(token.text)},"i":${index},"id":${token.id},"logprob":${token.logprob}}`
}

/** The same as an object. */
export function tokenData(
  { text, id, logprob, special, top }: TgiToken,
  i: number,
  times?: FirstTokenTimes,
): EventData['token'] {
  const data: EventData['token'] = { t: text, i, id, logprob, ...times }
  if (special) data.special = true
  if (top !== undefined)
    data.top = top.map((other) => ({ id: other.id, t: other.text, logprob: other.logprob }))
  return data
}
