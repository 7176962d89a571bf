import { jsonLine } from '../contract/json-line.ts'
import { PoolError } from '../contract/error.ts'
import type { ErrorKind } from '../contract/error.ts'
import { errorEnvelope } from '../http/envelope.ts'
import { err, errLine } from './print.ts'

/** What the command's exit status says. */
export const EXIT = {
  success: 0,
  fault: 1,
  usage: 2,
  /** The job ended in `error`. */
  jobFailed: 3,
  interrupted: 130,
} as const

/** Ends a command with a status and nothing more to say. */
export class Exit extends Error {
  override readonly name = 'Exit'
  readonly status: number

  constructor(status: number) {
    super(`exit ${status}`)
    this.status = status
  }
}

/** Kinds that mean: what was typed, or put in a file, is wrong. */
const USAGE: ReadonlySet<ErrorKind> = new Set<ErrorKind>(['INVALID_PARAMS', 'CONFIG'])

/** The status for an error. */
export function exitStatus(error: unknown): number {
  if (error instanceof Exit) return error.status
  return error instanceof PoolError && USAGE.has(error.kind) ? EXIT.usage : EXIT.fault
}

/** What to do about an address where no Redis is, in words that only the command has. */
function nextStep(error: unknown): string {
  const isAbsent = error instanceof PoolError && / does not answer: /.test(error.message)
  if (!isAbsent || error.kind !== 'REDIS_UNAVAILABLE') return ''
  return '; start Redis there, or give its URL with --redis or REDIS_URL'
}

/** Prints an error for a person, or as one JSON line: the envelope that errors have over HTTP. `line` is its line in a file. */
export function printError(error: unknown, json: boolean, line?: number): void {
  if (error instanceof Exit) return
  const known = error instanceof PoolError
  const message = error instanceof Error ? error.message : String(error)
  if (json) {
    const envelope = errorEnvelope(known ? error : new PoolError('INTERNAL', message))
    errLine(jsonLine({ error: { ...envelope.error, line } }))
  } else {
    const where = line === undefined ? '' : `line ${line}: `
    const what = known && line === undefined ? `${error.kind}: ` : ''
    errLine(`tgi-pool: ${where}${what}${message}${nextStep(error)}`)
  }
  if (!known && process.env['LOG_LEVEL'] === 'debug' && error instanceof Error) {
    err(`${error.stack ?? ''}\n`)
  }
}
