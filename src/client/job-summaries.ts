import { PoolError } from '../contract/error.ts'
import type { EventData, JobEvent } from '../contract/event.ts'
import { OVER_STATES } from '../contract/job-states.ts'
import type { JobSummary } from '../contract/wire-types.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { SEAL_ID, epochMs, idParts } from '../contract/stream-id.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { parseEntry, parseRawEntry } from '../stream/entry.ts'
import type { RawEntry } from '../stream/entry.ts'
import type { IndexedJob } from '../stream/index-walk.ts'

/** The fields of a summary that come from the job's events. */
type Details = Omit<JobSummary, 'job_id' | 'state' | 'since' | 'priority'>

/**
 * Summarizes jobs of the index from their events, in two round trips. A job without events is left out, unless it is a waiting job
 * of a plain BullMQ producer, which exists only in the index.
 */
export async function summarizeJobs(
  redis: RedisConnection,
  keys: PoolKeys,
  jobs: readonly IndexedJob[],
): Promise<JobSummary[]> {
  const details = await Promise.all(jobs.map((job) => readDetails(redis, keys, job)))
  const open = jobs.filter(({ state }, at) => !isOver(state) && details[at]?.deadline_at === undefined)
  const scores =
    open.length === 0 ? [] : await redis.zmscore(keys.deadlines, ...open.map(({ jobId }) => jobId))
  const deadlines = new Map(open.map(({ jobId }, at) => [jobId, scores[at] ?? undefined]))
  return jobs.flatMap(({ jobId, state, since, priority }, at) => {
    const deadline = deadlines.get(jobId)
    const waits = state === 'queued' && deadline !== undefined ? { accepted_at: since } : undefined
    const known = details[at] ?? waits
    if (known === undefined) return []
    return [
      {
        job_id: jobId,
        state,
        since,
        priority,
        ...(deadline === undefined ? {} : { deadline_at: Number(deadline) }),
        ...known,
      },
    ]
  })
}

/** Undefined without events; empty if they cannot be read, so that one bad stream does not affect other jobs. */
async function readDetails(
  redis: RedisConnection,
  keys: PoolKeys,
  { jobId, state }: IndexedJob,
): Promise<Details | undefined> {
  const stream = keys.events(jobId)
  try {
    // Skip the `end` of an answered job: it repeats the text, up to a megabyte, and has no field that is listed.
    const [head, seal] = await Promise.all([
      redis.xrange(stream, '-', '+', 'COUNT', 2),
      state === 'failed' ? redis.xrange(stream, SEAL_ID, SEAL_ID) : [],
    ])
    if (head.length === 0) return undefined
    return detailsOf([...head, ...seal].map(parseRaw), state)
  } catch (error) {
    if (!isUnreadable(error)) throw error
    return {}
  }
}

function parseRaw(entry: RawEntry): JobEvent {
  return parseEntry(parseRawEntry(entry))
}

function isUnreadable(error: unknown): boolean {
  return error instanceof PoolError || (error instanceof Error && error.message.startsWith('WRONGTYPE'))
}

function detailsOf(events: readonly JobEvent[], state: IndexedJob['state']): Details {
  const details: Details = state === 'cancelled' ? { code: 'CANCELLED' } : {}
  for (const event of events) {
    if (event.event === 'queued') Object.assign(details, queuedDetails(event.data))
    if (event.event === 'started') {
      // A plain BullMQ producer's job has no `queued`.
      details.accepted_at ??= epochMs(idParts(event.id).epoch) - event.data.queue_time_ms
      const { correlation_id: correlationId } = event.data
      if (correlationId !== undefined) details.correlation_id ??= correlationId
    }
    if (event.event === 'error') details.code = event.data.code
  }
  return details
}

function queuedDetails(queued: EventData['queued']): Details {
  const { accepted_at: acceptedAt, deadline_at: deadlineAt, correlation_id: correlationId } = queued
  return {
    accepted_at: acceptedAt,
    deadline_at: deadlineAt,
    ...(correlationId === undefined ? {} : { correlation_id: correlationId }),
  }
}

function isOver(state: IndexedJob['state']): boolean {
  return OVER_STATES.some((over) => over === state)
}
