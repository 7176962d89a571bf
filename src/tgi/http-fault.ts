import { errors } from 'undici'

import { TgiError } from './error.ts'

/** How far an exchange had come: no connection yet, no headers yet, or inside the body. */
export type HttpStage = 'connecting' | 'waiting' | 'reading'

/** What undici's error means to us, with the address and a code, never with bytes from the wire. */
export function faultOf(error: Error, stage: HttpStage, label: string): TgiError {
  if (error instanceof TgiError) return error
  const code = codeOf(error)
  const cause = withoutBytes(error)
  if (stage === 'connecting') return new TgiError('connect', `cannot connect to ${label}: ${code}`, { cause })
  if (error instanceof errors.ResponseExceededMaxSizeError) {
    return new TgiError('malformed', `the answer of ${label} is larger than expected: ${code}`, { cause })
  }
  const strange = error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError
  if (strange && stage === 'waiting') {
    return new TgiError('not_tgi', `${label} does not speak HTTP: ${code}`, { cause })
  }
  const where = stage === 'waiting' ? 'before it answered' : 'in mid-answer'
  return new TgiError('disconnected', `the connection to ${label} died ${where}: ${code}`, { cause })
}

function codeOf(error: Error): string {
  const code = 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : error.name
}

/** undici hangs the unparsed rest of the response on a parser error: text of an answer, ready for the log. */
function withoutBytes(error: Error): Error {
  if (!(error instanceof errors.HTTPParserError)) return error
  return new Error(`${error.name} ${error.code}: ${error.message}`)
}
