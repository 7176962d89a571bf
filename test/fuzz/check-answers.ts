import { errorEnvelopeSchema } from '../../src/http/envelope.ts'
import type { Answer } from './answers.ts'
import type { Outcome } from './converse.ts'
import { MARK } from './shot.ts'
import type { Conversation } from './shot.ts'

/** What a check found. */
export interface AnswerFault {
  readonly expected: string
  readonly got: string
  /** It may come of a slow machine alone: it counts when it comes again. */
  readonly isPerhaps: boolean
}

const SHOWN = 300

/** Holds what came of a conversation against what any client may expect. */
export function checkOutcome(
  { expects, ending }: Conversation,
  outcome: Outcome,
  mayOverload: boolean,
): AnswerFault | undefined {
  if (outcome.fault !== undefined) return { expected: 'HTTP/1.1', got: outcome.fault, isPerhaps: false }
  for (const answer of outcome.answers) {
    const fault = checkAnswer(answer, mayOverload)
    if (fault !== undefined) return fault
  }
  if (ending === 'abort' || expects === 'any' || outcome.answers.length >= expects.length) return undefined
  // A connection that the server closes after an error answers nothing behind it.
  if (outcome.answers.some(({ status, headers }) => status >= 400 && headers.get('connection') === 'close'))
    return undefined
  return {
    expected: `${expects.length} answers`,
    got: `${outcome.answers.length}, then ${outcome.isSilent ? 'silence' : 'the end of the connection'}`,
    isPerhaps: true,
  }
}

function checkAnswer(answer: Answer, mayOverload: boolean): AnswerFault | undefined {
  const { status, body, isWhole } = answer
  const got = `${status} ${body.slice(0, SHOWN)}`
  if (status < 400) return undefined
  if (body.includes(MARK)) return { expected: 'no prompt and no secret in an error', got, isPerhaps: false }
  const envelope = envelopeIn(body)
  if (status >= 500) {
    if (mayOverload && envelope?.error.code === 'OVERLOADED') return undefined
    // Redis is there all the time, but the machine may be so slow that it answers late.
    return { expected: 'no status from 500 on', got, isPerhaps: envelope?.error.code === 'REDIS_UNAVAILABLE' }
  }
  // HEAD has no body; a client that leaves has not read all of it.
  if (body === '' || !isWhole || envelope !== undefined) return undefined
  return { expected: 'the error envelope', got, isPerhaps: false }
}

function envelopeIn(body: string): ReturnType<typeof errorEnvelopeSchema.parse> | undefined {
  try {
    return errorEnvelopeSchema.safeParse(JSON.parse(body)).data
  } catch {
    return undefined
  }
}

/** The ids of jobs that answers say were accepted. */
export function acceptedIds({ answers }: Outcome): string[] {
  return answers.flatMap(({ status, headers, body }) => {
    const fromHeader = headers.get('x-job-id')
    if (status === 200 && fromHeader !== undefined) return [fromHeader]
    if (status !== 202) return []
    const { job_id: jobId } = JSON.parse(body) as { readonly job_id: string }
    return [jobId]
  })
}
