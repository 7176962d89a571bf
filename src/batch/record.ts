import { jsonLine } from '../contract/json-line.ts'
import type { PoolError } from '../contract/error.ts'
import type { EventData, TerminalEvent } from '../contract/event.ts'

/** What is printed of an answer. */
export interface AnswerFields {
  readonly text: string
  readonly finish_reason: EventData['end']['finish_reason']
  readonly usage: { readonly tokens_in?: number | undefined; readonly tokens_out: number }
}

/** What is printed of an error. */
export interface ErrorFields {
  readonly error: { readonly code: string; readonly message: string; readonly retriable: boolean }
}

/** A line of the file of answers: how one line of the input ended. */
export interface Answer extends AnswerFields {
  readonly job_id: string
  /** The number of the line in the input, from 1. */
  readonly line: number
}

/** The record of a job that ended in an error, or of a refused line. */
export interface Failure extends ErrorFields {
  readonly job_id: string
  readonly line: number
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
  return { job_id: jobId, line, ...(event === 'error' ? errorFields(data) : answerFields(data)) }
}

/** The fields of an answer that are printed. */
export function answerFields({ text, finish_reason, tokens_in, tokens_out }: EventData['end']): AnswerFields {
  return { text, finish_reason, usage: { tokens_in, tokens_out } }
}

/** The fields of an error that are printed. */
export function errorFields({ code, message, retriable }: EventData['error']): ErrorFields {
  return { error: { code, message, retriable } }
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
