import { crc32 } from 'node:zlib'
import type { JobEvent } from '../../src/contract/event.ts'
import { START, compareIds, parseCursor } from '../../src/contract/stream-id.ts'
import type { Check, JobEvidence, Reading } from './evidence.ts'

/** Tells an event from every other: its id, its name and a sum over its data. */
export function fingerprint(event: JobEvent): string {
  return `${event.id} ${event.event} ${crc32(JSON.stringify(event.data)).toString(36)}`
}

/** Whether each consumer saw all that follows where it began, once and in order, and was told when it was over. */
export function checkReadings(
  job: JobEvidence,
  events: readonly JobEvent[],
  report: (check: Check, message: string) => void,
): void {
  for (const reading of job.readings) {
    // It was told of an end that is gone, or of a job that is.
    if (job.lost.readings.includes(reading.consumer)) continue
    if (job.lost.acceptance && reading.fault !== undefined) continue
    const wrong = faultOf(reading, events)
    if (wrong !== undefined) report('reader', `consumer ${reading.consumer}: ${wrong}`)
  }
}

function faultOf(reading: Reading, events: readonly JobEvent[]): string | undefined {
  if (reading.fault !== undefined) return `was told ${reading.fault}`
  if (!reading.over) return `was never told that it is over; it saw ${reading.seen.length} events`
  const after = parseCursor(reading.after) ?? START
  const due = events.filter(({ id }) => compareIds(id, after) > 0).map(fingerprint)
  const parting = due.findIndex((print, index) => print !== reading.seen[index])
  if (parting >= 0)
    return `saw ${reading.seen[parting] ?? 'nothing'} where ${due[parting]} was to come (event ${parting} after ${after})`
  const extra = reading.seen[due.length]
  return extra === undefined ? undefined : `saw ${extra}, which is not in the stream`
}
