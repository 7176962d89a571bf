import { createRequire } from 'node:module'
import { pino } from 'pino'
import type { Logger } from 'pino'
import type { build } from 'pino-pretty'
import { plainMessage } from './plain-message.ts'

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
      ? loadPretty()({
          destination: 2,
          sync: true,
          colorize: true,
          ignore: 'pid,name',
          translateTime: 'SYS:HH:MM:ss.l',
          singleLine: true,
        })
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

/** Loaded where it is used: it is as large as pino itself, and most processes log JSON. */
function loadPretty(): typeof build {
  return createRequire(import.meta.url)('pino-pretty') as typeof build
}

/** An error without what hangs on it. */
export function describeError(error: unknown): { type: string; message: string; kind?: string } {
  if (!(error instanceof Error)) return { type: typeof error, message: 'not an error object' }
  const kind = 'kind' in error && typeof error.kind === 'string' ? { kind: error.kind } : {}
  return { type: error.name, message: plainMessage(error.message).slice(0, 500), ...kind }
}
