import { pino } from 'pino'
import type { Logger } from 'pino'
import { plainMessage } from './plain-message.ts'
import { prettyLog } from './pretty-log.ts'

export type { Logger } from 'pino'

/** Log levels, as `LOG_LEVEL` takes them. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** How much is logged. */
export type LogLevel = (typeof LOG_LEVELS)[number]

/**
 * Logs on stderr, where lines never mix with data: JSON, or lines for people with `pretty`. Errors are written by
 * name, message and kind only: what libraries hang on theirs (commands with their arguments, requests) may hold
 * prompts.
 */
export function createLogger(
  name: string,
  level: LogLevel = 'info',
  options: { readonly pretty?: boolean | undefined } = {},
): Logger {
  const destination =
    options.pretty === true
      ? { write: (line: string) => void process.stderr.write(prettyLog(line)) }
      : pino.destination({ fd: 2, sync: true })
  return pino(
    {
      level,
      base: { name, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
    },
    destination,
  )
}

/** An error without what hangs on it. */
export function describeError(error: unknown): { type: string; message: string; kind?: string } {
  if (!(error instanceof Error)) return { type: typeof error, message: 'not an error object' }
  const kind = 'kind' in error && typeof error.kind === 'string' ? { kind: error.kind } : {}
  return { type: error.name, message: plainMessage(error.message).slice(0, 500), ...kind }
}
