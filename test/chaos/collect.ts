import type { JobEvent } from '../../src/contract/event.ts'
import { parseEntry, parseRawEntry } from '../../src/stream/entry.ts'
import type { RawEntry } from '../../src/stream/entry.ts'
import { seamsOf } from './check-resumes.ts'
import type { Interval, JobEvidence, LostEvidence, Violation } from './evidence.ts'
import type { Play } from './play.ts'
import { startReferenceReplica } from './reference.ts'
import { KEYS, MAX_ATTEMPTS } from './stage.ts'
import type { TrackedJob } from './tracked-job.ts'

const AT_ONCE = 8

/** Reads the stream of every accepted job, and generates undisturbed what each has tokens of. */
export async function collectJobs(
  play: Play,
  report: (violation: Violation) => void,
): Promise<JobEvidence[]> {
  const reference = await startReferenceReplica()
  const left = play.jobs.filter(({ acceptedAt }) => acceptedAt !== undefined)
  const evidence: JobEvidence[] = []

  async function work(): Promise<void> {
    for (let job = left.pop(); job !== undefined; job = left.pop()) {
      const events = await readStream(play, job, report)
      const hasTokens = events?.some(({ event }) => event === 'token') === true
      evidence.push({
        ...job,
        events,
        undisturbed: hasTokens ? await reference.generate(job) : undefined,
        afterSeams: await Promise.all(seamsOf(events ?? []).map((seam) => reference.generate(job, seam))),
        maxAttempts: MAX_ATTEMPTS,
        noResume: play.options.noResume,
        lost: lostOf(job, play.stage.redisStage.lost),
      })
    }
  }

  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  } finally {
    await reference.stop()
  }
  return evidence
}

/** What stalls on its way to a consumer comes so much later than Redis has said it (ms). */
const LATE_MS = 3500

function lostOf(job: TrackedJob, lost: readonly Interval[]): LostEvidence {
  const isLost = (at: number | undefined, lateMs = 0) =>
    at !== undefined && lost.some(({ from, to }) => at >= from && at <= to + lateMs)
  return {
    acceptance: isLost(job.acceptedAt),
    cancel: isLost(job.cancel?.at),
    seal: isLost(job.sealSeenAt, LATE_MS),
    readings: job.readings.filter(({ overAt }) => isLost(overAt, LATE_MS)).map(({ consumer }) => consumer),
  }
}

async function readStream(
  play: Play,
  { jobId }: TrackedJob,
  report: (violation: Violation) => void,
): Promise<readonly JobEvent[] | undefined> {
  const entries = (await play.stage.redis.xrange(KEYS.events(jobId), '-', '+')) as RawEntry[]
  if (entries.length === 0) return undefined
  const events: JobEvent[] = []
  for (const entry of entries) {
    try {
      events.push(parseEntry(parseRawEntry(entry)))
    } catch (error) {
      report({ check: 'ids', jobId, message: String(error) })
    }
  }
  return events
}
