import type { EventData, JobEvent } from '../../src/contract/event.ts'
import { isTerminal } from '../../src/contract/event.ts'
import { QUEUED_ID, SEAL_ID, compareIds, idParts } from '../../src/contract/stream-id.ts'
import { checkErrorCode } from './check-error-code.ts'
import { checkReadings } from './check-readings.ts'
import { checkResumes, seamsOf } from './check-resumes.ts'
import type { Check, JobEvidence, Violation } from './evidence.ts'

/** More tokens than this the replica generates in slices, each decoded by itself. */
const SLICE_TOKENS = 1024

/** Holds one job's stream, and what its producer and consumers saw, against all that must be true of it. */
export function checkJob(job: JobEvidence): Violation[] {
  const { jobId, events, lost } = job
  if ((events === undefined || events.length === 0) && lost.acceptance) return []
  if (events === undefined || events.length === 0)
    return [{ check: 'lost', jobId, message: 'was accepted and has no stream' }]
  const found: Violation[] = []
  const report = (check: Check, message: string): void => {
    found.push({ check, jobId, message })
  }
  checkTerminal(events, report)
  checkIds(events, report)
  checkIndexes(events, report)
  checkResumes(job, events, report)
  checkEnd(job, events, report)
  checkUndisturbed(job, events, report)
  checkAfterSeams(job, events, report)
  if (!lost.cancel) checkCancel(job, events, report)
  checkErrorCode(job, events, report)
  checkReadings(job, events, report)
  return found
}

type Report = (check: Check, message: string) => void

function checkTerminal(events: readonly JobEvent[], report: Report): void {
  const terminals = events.filter(isTerminal)
  const first = events.findIndex(isTerminal)
  if (terminals.length === 0) report('lost', `has no terminal event; the last is ${events.at(-1)?.id}`)
  if (terminals.length > 1) report('double-terminal', `has ${terminals.length} terminal events`)
  const after = first < 0 ? undefined : events[first + 1]
  if (after !== undefined) report('after-terminal', `${after.event} ${after.id} follows the terminal event`)
}

/** An id tells who wrote the entry and what was there before. */
function checkIds(events: readonly JobEvent[], report: Report): void {
  if (events[0]?.event !== 'queued' || events[0].id !== QUEUED_ID) {
    report('ids', `begins with ${events[0]?.event} ${events[0]?.id} and not with queued ${QUEUED_ID}`)
  }
  let epoch = 0
  let n = 0
  for (const [index, event] of events.entries()) {
    const before = events[index - 1]
    if (before !== undefined && compareIds(before.id, event.id) >= 0)
      report('ids', `${event.id} comes after ${before.id}`)
    const parts = idParts(event.id)
    if (isTerminal(event)) {
      if (event.id !== SEAL_ID) report('ids', `${event.event} has the id ${event.id}`)
    } else if (event.event === 'started') {
      if (parts.n !== 1) report('ids', `started has the id ${event.id}`)
      ;({ epoch, n } = parts)
    } else if (event.event !== 'queued') {
      if (parts.epoch !== epoch || parts.n !== n + 1)
        report('ids', `${event.event} ${event.id} follows ${epoch}-${n}`)
      n = parts.n
    }
  }
}

function checkIndexes(events: readonly JobEvent[], report: Report): void {
  let next = 0
  let attempts = 0
  for (const event of events) {
    if (event.event === 'token') {
      const { i } = event.data
      if (i > next) report('hole', `token ${i} at ${event.id} where ${next} was to come`)
      if (i < next) report('repeat', `token ${i} at ${event.id} where ${next} was to come`)
      next = i + 1
    }
    if (event.event !== 'started') continue
    attempts += 1
    const { attempt, next_token: said } = event.data
    if (attempt !== attempts)
      report('answer', `started ${event.id} says attempt ${attempt}, it is number ${attempts}`)
    if (said !== next)
      report('answer', `started ${event.id} says that token ${said} comes next, it is ${next}`)
  }
}

function checkCancel(job: JobEvidence, events: readonly JobEvent[], report: Report): void {
  const { cancel } = job
  if (cancel === undefined) return
  if (cancel.entries !== undefined && events.length !== cancel.entries) {
    report(
      'after-cancel',
      `had ${cancel.entries} entries when cancel() had returned, and has ${events.length}`,
    )
  }
  const last = events.at(-1)
  const cancelled = last?.event === 'error' && last.data.code === 'CANCELLED'
  if (cancel.outcome === 'cancelled' && !cancelled)
    report('after-cancel', `cancel() said that it was cancelled, and it ended in ${last?.event}`)
  if (cancel.outcome === 'already_over' && cancelled && !cancel.repeated)
    report('after-cancel', 'cancel() said that it was over already, and nobody else had cancelled it')
}

/** Whether what `end` says is what the stream holds. */
function checkEnd(job: JobEvidence, events: readonly JobEvent[], report: Report): void {
  const end = events.find((event) => event.event === 'end')?.data
  if (end === undefined) return
  const tokens = tokensOf(events)
  const attempts = events.filter(({ event }) => event === 'started').length
  if (end.tokens_out !== tokens.length)
    report('answer', `end says ${end.tokens_out} tokens, there are ${tokens.length}`)
  if (end.attempts !== attempts)
    report('answer', `end says ${end.attempts} attempts, ${attempts} have started`)
  const { ttft_ms: ttft } = tokens[0] ?? {}
  if (end.ttft_ms !== ttft) report('answer', `end says ttft_ms ${end.ttft_ms}, the first token ${ttft}`)
  checkFinish(job, end, tokens, report)
  const text = textOf(tokens)
  if (end.text === text) return
  const sliced = budgetOf(job) > SLICE_TOKENS && end.exact && end.text === job.undisturbed?.text
  if (!sliced) report('text', `the texts of its tokens do not make end.text: ${partingOf(text, end.text)}`)
}

function partingOf(tokens: string, end: string): string {
  let at = 0
  while (at < tokens.length && tokens[at] === end[at]) at += 1
  const shown = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 10), at + 20))
  return `at character ${at} they say ${shown(tokens)}, it says ${shown(end)}`
}

function checkFinish(
  job: JobEvidence,
  end: EventData['end'],
  tokens: readonly EventData['token'][],
  report: Report,
): void {
  const budget = budgetOf(job)
  if (tokens.length > budget)
    report('answer', `has ${tokens.length} tokens, and was to have at most ${budget}`)
  const { finish_reason: reason } = end
  if (reason === 'length' && tokens.length !== budget)
    report('answer', `ends by its length of ${tokens.length} tokens, and was to have ${budget}`)
  if (reason === 'eos_token' && tokens.at(-1)?.special !== true)
    report('answer', 'ends by the end-of-sequence token, which is not its last one')
  const stops = job.body.parameters?.stop ?? []
  if (reason === 'stop_sequence' && !stops.some((stop) => textOf(tokens).endsWith(stop)))
    report('answer', 'ends by a stop sequence with which it does not end')
}

/** After each seam a job's tokens are those of one generation from the text before it, with the seed that was said. */
function checkAfterSeams(job: JobEvidence, events: readonly JobEvent[], report: Report): void {
  const tokens = tokensOf(events)
  const isWhole = events.some((event) => event.event === 'end')
  const seams = seamsOf(events)
  for (const [nth, { at }] of seams.entries()) {
    const expected = job.afterSeams[nth]?.ids
    const next = seams[nth + 1]?.at
    const got = tokens.slice(at, next)
    const parting = got.findIndex(({ id }, index) => id !== expected?.[index])
    if (parting >= 0)
      report('divergence', `token ${at + parting} is not what follows the text before the seam at ${at}`)
    else if (isWhole && next === undefined && got.length !== expected?.length)
      report('divergence', `has ${got.length} tokens after the seam at ${at}, expected ${expected?.length}`)
  }
}

const ORDERS = /\[(?:eos|merge|emoji):\d+\]/

/**
 * Up to its first seam a job's tokens are those of one generation that nobody disturbed, whatever happened to it. After
 * it they are the same text where nothing is drawn, since the text so far alone decides; unless the prompt has orders for
 * the simulated model (`[merge:46]`): they count tokens, and what is kept may be read in fewer than it was written in.
 */
function checkUndisturbed(job: JobEvidence, events: readonly JobEvent[], report: Report): void {
  const tokens = tokensOf(events)
  const { undisturbed } = job
  if (tokens.length === 0) return
  if (undisturbed === undefined) {
    report('divergence', 'there is no undisturbed generation to compare it with')
    return
  }
  const seams = seamsOf(events)
  const seam = seams[0]?.at ?? tokens.length
  const parting = tokens.slice(0, seam).findIndex(({ id }, index) => id !== undisturbed.ids[index])
  if (parting >= 0) {
    report(
      'divergence',
      `token ${parting} is ${tokens[parting]?.id}, undisturbed it is ${undisturbed.ids[parting]}`,
    )
    return
  }
  const end = events.find((event) => event.event === 'end')?.data
  if (end === undefined) return
  if (end.exact && tokens.length !== undisturbed.ids.length)
    report('divergence', `has ${tokens.length} tokens, undisturbed it has ${undisturbed.ids.length}`)
  const drawn = job.body.parameters?.do_sample === true || budgetOf(job) > SLICE_TOKENS
  const ordered = ORDERS.test(JSON.stringify(job.body))
  if (!end.exact && !drawn && !ordered && end.text !== undisturbed.text)
    report('divergence', 'is greedy and went on, but its text is not the one that nobody disturbed')
}

function tokensOf(events: readonly JobEvent[]): EventData['token'][] {
  return events.flatMap((event) => (event.event === 'token' ? [event.data] : []))
}

/** The text of tokens, as readers join it. */
function textOf(tokens: readonly EventData['token'][]): string {
  return tokens.map(({ t, special }) => (special === true ? '' : t)).join('')
}

function budgetOf(job: JobEvidence): number {
  return job.body.parameters?.max_new_tokens ?? Infinity
}
