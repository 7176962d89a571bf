import type { HttpAnswer } from './call.ts'
import type { Quote } from './quote.ts'
import { TgiError } from './error.ts'
import { jsonOf } from './json.ts'
import { isErrorFrame, kindOfFrame } from './wire.ts'

/**
 * "Not now": the server, or a proxy in front of it, did not start the request. Some gateways use 529 for 503. 502 and 504 (a proxy
 * lost its server), 408, 425 and 500 do not promise that.
 */
const NOT_NOW: ReadonlySet<number> = new Set([429, 503, 529])

/**
 * What an answer with a status other than 200 means, for a route that TGI has. Bodies by router/src/server.rs and
 * axum 0.7 (TGI 3.3.7): 401 is empty; 400, 413, 415 and 422 are plain text when the body never reached a handler;
 * handlers answer JSON with `error` and `error_type`.
 */
export function refusalOf(answer: HttpAnswer, label: string, quote: Quote): TgiError {
  const { status, retryAfterMs } = answer
  const frame = jsonOf(answer.text)
  if (isErrorFrame(frame)) {
    const kind = kindOfFrame(frame) ?? (NOT_NOW.has(status) ? 'overloaded' : 'generation')
    // The request itself is wrong and every replica would refuse it, so the message does not name the server.
    const where = kind === 'validation' ? '' : `${label} answered HTTP ${status}: `
    const message = where + quote(frame.error)
    return new TgiError(kind, message, kind === 'overloaded' ? { status, retryAfterMs } : { status })
  }
  const said = plainText(answer, quote)
  const because = said === '' ? '' : `: ${said}`
  if (NOT_NOW.has(status)) {
    return new TgiError('overloaded', `${label} accepts no requests now (HTTP ${status})${because}`, {
      status,
      retryAfterMs,
    })
  }
  switch (status) {
    case 401:
      return new TgiError('unauthorized', `${label} wants another API key (HTTP 401)`, { status })
    case 404:
    case 405:
      return new TgiError('not_tgi', `${label} lacks a route that TGI has (HTTP ${status})`, { status })
    case 413:
      return new TgiError('too_large', `the request is too large for ${label} (HTTP 413)${because}`, {
        status,
      })
    case 400:
    case 415:
    case 422:
      return new TgiError('refused', `${label} cannot read the request (HTTP ${status})${because}`, {
        status,
      })
    default:
      return new TgiError('http', `${label} answered HTTP ${status}${because}`, { status })
  }
}

/** Other kinds of bodies are pages for people, and an echo of the request is more likely among them. */
function plainText(answer: HttpAnswer, quote: Quote): string {
  if (!answer.contentType.toLowerCase().startsWith('text/plain')) return ''
  return answer.text.startsWith('Failed to deserialize') ? withoutValues(answer.text) : quote(answer.text)
}

/**
 * `Failed to deserialize the JSON body into the target type: <path>: <detail>` where the detail quotes the value
 * it found. Only the name of the field and the kind of fault are quoted; the rest may be the prompt.
 */
const DESERIALIZE =
  /type: (?:(?<path>(?:inputs|parameters|messages)(?:\.[a-z_]{1,32}|\[\d{1,6}\]){0,3}): )?(?<what>invalid (?:type|value|length)|missing field `[a-z_]{1,32}`|unknown variant|data did not match)/

function withoutValues(text: string): string {
  const found = DESERIALIZE.exec(text)?.groups
  if (found === undefined) return 'a field has the wrong type'
  return [found['path'], found['what']].filter((part) => part !== undefined).join(': ')
}
