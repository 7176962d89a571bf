import { jsonLine } from '../contract/json-line.ts'
import type { PoolError } from '../contract/error.ts'
import type { TerminalEvent } from '../contract/event.ts'

/** A line of the file of answers: how one line of the input ended. */
export interface Answer {
  readonly job_id: string
  /** The number of the line in the input, from 1. */
  readonly line: number
  readonly text: string
  readonly finish_reason: string
  readonly usage: { readonly tokens_in?: number | undefined; readonly tokens_out: number }
}

/** The record of a job that ended in an error, or of a refused line. */
export interface Failure {
  readonly job_id: string
  readonly line: number
  readonly error: { readonly code: string; readonly message: string; readonly retriable: boolean }
}

/** A record without its text. */
export interface Outcome {
  readonly jobId: string
  readonly line: number
  /** The code of its error; undefined for an answer. */
  readonly code: string | undefined
}

/** The record of a job that has ended. */
export function recordOf(jobId: string, line: number, { event, data }: TerminalEvent): Answer | Failure {
  if (event === 'error') {
    const { code, message, retriable } = data
    return { job_id: jobId, line, error: { code, message, retriable } }
  }
  const { text, finish_reason, tokens_in, tokens_out } = data
  return { job_id: jobId, line, text, finish_reason, usage: { tokens_in, tokens_out } }
}

/** The record of a refused line. */
export function refusalOf(jobId: string, line: number, { kind, message, retriable }: PoolError): Failure {
  return { job_id: jobId, line, error: { code: kind, message, retriable } }
}

/** A record as one line, with its line ending. */
export function formatRecord(record: Answer | Failure): string {
  return `${jsonLine(record)}\n`
}

/** Parses a line of the file of answers; undefined if it is not a record. */
export function parseRecord(line: Buffer): Outcome | undefined {
  try {
    const value = JSON.parse(line.toString('utf8')) as Partial<Answer & Failure> | null
    const { job_id: jobId, line: number, text, error } = value ?? {}
    if (typeof jobId !== 'string' || !Number.isSafeInteger(number) || number === undefined || number < 1)
      return undefined
    if (typeof error?.code === 'string') return { jobId, line: number, code: error.code }
    return typeof text === 'string' ? { jobId, line: number, code: undefined } : undefined
  } catch {
    return undefined
  }
}
