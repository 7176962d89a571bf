import type { JobEvent } from '../../src/contract/event.ts'
import type { Check, JobEvidence } from './evidence.ts'

/** Where an answer goes on from a prompt with the text so far. */
export interface Seam {
  /** The index of the first token after it. */
  readonly at: number
  /** What that part is generated with. */
  readonly seed: number
  /** The text before it. */
  readonly kept: string
}

/** The seams of an answer, in order; an attempt that died without a token left none. */
export function seamsOf(events: readonly JobEvent[]): Seam[] {
  const seams = new Map<number, Seam>()
  for (const event of events) {
    if (event.event !== 'started' || event.data.resume?.mode !== 'continue') continue
    const { next_token: at, seed } = event.data
    seams.set(at, { at, seed, kept: textBefore(events, at) })
  }
  return [...seams.values()]
}

/** Whether an answer that was interrupted went on as its job asked, and says so. */
export function checkResumes(
  job: JobEvidence,
  events: readonly JobEvent[],
  report: (check: Check, message: string) => void,
): void {
  const { grammar } = job.body.parameters ?? {}
  const wish = job.body.on_interrupt ?? (grammar === undefined ? 'continue' : 'replay')
  let exact = true
  for (const event of events) {
    if (event.event !== 'started') continue
    const { resume, next_token: next } = event.data
    if (resume === undefined) {
      if (next > 0) report('resume', `started ${event.id} goes on at token ${next} and does not say how`)
      continue
    }
    if (next === 0) report('resume', `started ${event.id} says ${resume.mode} before any token`)
    if (wish === 'fail') report('resume', `started ${event.id} goes on, and the job was to fail`)
    if (wish === 'replay' && resume.mode === 'continue')
      report('resume', `started ${event.id} continues, and the job was to be replayed`)
    if (grammar !== undefined && resume.mode === 'continue')
      report('resume', `started ${event.id} continues in the middle of a grammar`)
    if (resume.mode === 'continue') exact = false
    if (resume.exact !== exact) report('resume', `started ${event.id} says exact: ${resume.exact}`)
  }
  const end = events.find((event) => event.event === 'end')?.data
  if (end === undefined) return
  if (end.exact !== exact) report('resume', `end says exact: ${end.exact}, its attempts say ${exact}`)
  const kept = seamsOf(events)[0]?.kept ?? ''
  if (!end.text.startsWith(kept)) report('resume', 'the text before the seam is not kept in end.text')
}

function textBefore(events: readonly JobEvent[], seam: number): string {
  return events
    .flatMap((event) => (event.event === 'token' && event.data.i < seam ? [event.data] : []))
    .map(({ t, special }) => (special === true ? '' : t))
    .join('')
}
