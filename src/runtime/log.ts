import { pino } from 'pino'
import type { Logger } from 'pino'

export type { Logger } from 'pino'

/** Log levels, as `LOG_LEVEL` takes them. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** How much is logged. */
export type LogLevel = (typeof LOG_LEVELS)[number]

/**
 * Logs as JSON lines on stderr, where they never mix with data. Errors are written by name, message and kind
 * only: what libraries hang on theirs (commands with their arguments, requests) may hold prompts.
 */
export function createLogger(name: string, level: LogLevel = 'info'): Logger {
  return pino(
    {
      name,
      level,
      base: { name, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
    },
    pino.destination({ fd: 2, sync: true }),
  )
}

/** An error without what hangs on it. */
export function describeError(error: unknown): { type: string; message: string; kind?: string } {
  if (!(error instanceof Error)) return { type: typeof error, message: 'not an error object' }
  const kind = 'kind' in error && typeof error.kind === 'string' ? { kind: error.kind } : {}
  return { type: error.name, message: error.message.slice(0, 500), ...kind }
}
