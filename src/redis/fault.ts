import { PoolError } from '../contract/error.ts'
import { plainMessage } from '../runtime/plain-message.ts'
import { redactUrl } from './address.ts'

/** An error of the driver by its message alone: what hangs on it are the command's arguments, password and prompt too. */
export function bareCause(error: unknown): Error {
  return new Error(error instanceof Error ? error.message : String(error))
}

/** The error of a connection that cannot be made. */
export function redisUnavailable(url: string, fault: unknown): PoolError {
  const cause = bareCause(fault)
  const text = cause.message
  const where = redactUrl(url)
  if (/^(WRONGPASS|NOAUTH|NOPERM)|invalid password/i.test(text)) {
    return new PoolError(
      'REDIS_UNAVAILABLE',
      `Redis at ${where} refuses the user or password (${text.split(' ')[0]})`,
      {
        cause,
      },
    )
  }
  // Node's own words for what is wrong with it (tls, X.509 error codes).
  if (/certificate|altnames/i.test(text)) {
    return new PoolError('REDIS_UNAVAILABLE', `the certificate of Redis at ${where} is not right: ${text}`, {
      cause,
    })
  }
  return new PoolError('REDIS_UNAVAILABLE', `Redis at ${where} does not answer: ${plainMessage(text)}`, {
    cause,
  })
}

/** Whether an error is about the line to Redis and not about the command. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error.name === 'MaxRetriesPerRequestError') return true
  return LINE_FAULT.test(error.message)
}

const LINE_FAULT =
  /Connection is closed|Command timed out|Socket timeout|isn't (?:writeable|ready)|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|Command aborted due to connection close|Cluster is ended|startup nodes|slots cache|sentinels are unreachable|Cluster redirections/

/**
 * Whether Redis answered, and answered that it cannot now: it loads its file, is out of memory or a replica of another
 * server, or a failover is under way. The same command may work in a moment.
 */
export function isRefusal(error: unknown): boolean {
  const codes =
    /^(OOM|READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|MISCONF|NOREPLICAS|BUSY|UNBLOCKED)\b/
  return error instanceof Error && codes.test(error.message)
}

/** Whether Redis refused a write because it is out of memory: nothing was changed. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('OOM ')
}

const REFUSALS: Readonly<Record<string, string>> = {
  OOM: 'is out of memory and refuses writes',
  READONLY: 'is a copy of another server and refuses writes',
  LOADING: 'is loading its data',
  MISCONF: 'cannot write its file and refuses writes',
  NOREPLICAS: 'has too few replicas and refuses writes',
  BUSY: 'is busy with a script',
}

/** What Redis said in a refusal, to follow the word Redis; undefined for any other error. */
export function describeRefusal(error: unknown): string | undefined {
  if (!(error instanceof Error) || !isRefusal(error)) return undefined
  const code = error.message.split(' ')[0] ?? ''
  return `${REFUSALS[code] ?? 'refuses for now'} (${code})`
}

/** Whether the user of the connection may not do this: by itself or in a script. It will not get better. */
export function isForbidden(error: unknown): boolean {
  return error instanceof Error && FORBIDDEN.test(error.message)
}

const FORBIDDEN = /NOPERM|ACL failure in script|user executing the script can't/
