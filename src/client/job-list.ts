import { z } from 'zod'
import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import type { Priority } from '../contract/job.ts'
import { MAX_PAGE } from '../contract/limits.ts'
import { JOB_STATES } from '../contract/job-states.ts'
import type { JobStateName } from '../contract/job-states.ts'
import type { JobSummary } from '../contract/wire-types.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { shown } from '../contract/shown.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { walkIndex } from '../stream/index-walk.ts'
import type { IndexedJob, Place } from '../stream/index-walk.ts'
import { summarizeJobs } from './job-summaries.ts'

/** Which jobs to list. */
export interface JobFilter {
  /** Only jobs in this state. @defaultValue all states */
  readonly state?: JobStateName | undefined
  /** Only jobs of this priority. @defaultValue both */
  readonly priority?: Priority | undefined
  /** Only jobs that entered their state at least this long ago (ms). */
  readonly olderThanMs?: number | undefined
  /** Only jobs that entered their state at most this long ago (ms). */
  readonly newerThanMs?: number | undefined
}

/** Options of a list of jobs. */
export interface JobListOptions extends JobFilter {
  /** Maximum number of jobs on the page, 1 to 1000. @defaultValue 100 */
  readonly limit?: number | undefined
  /** The `next_cursor` of the previous page, with the same filter. @defaultValue starts with the newest jobs */
  readonly cursor?: string | undefined
  /** An abort ends the wait. */
  readonly signal?: AbortSignal | undefined
}

/** A page of jobs, newest first. */
export interface JobPage {
  /** The jobs, most recent state change first. */
  readonly jobs: JobSummary[]
  /** The `cursor` of the next page; absent on the last page only. A page may have few jobs, or none, and still have it. */
  readonly next_cursor?: string
}

/** About how many jobs whose events have expired a page passes over: 10,000 take a quarter of a second. */
const MAX_EXPIRED = 10_000

const age = z.number().int().nonnegative().optional()

const optionsSchema = z.strictObject({
  state: z.enum(JOB_STATES).optional(),
  priority: z.enum(['interactive', 'batch']).optional(),
  olderThanMs: age,
  newerThanMs: age,
  limit: z.number().int().min(1).max(MAX_PAGE).default(100),
  cursor: z.string().optional(),
})

/**
 * A page of a pool's jobs, newest first. Jobs whose events have expired are left out; a job whose events cannot be read has only the
 * fields of the index.
 *
 * @throws {@link PoolError} `INVALID_PARAMS`.
 */
export async function listJobs(
  redis: RedisConnection,
  keys: PoolKeys,
  { signal, ...given }: JobListOptions = {},
): Promise<JobPage> {
  const { limit, cursor, olderThanMs, newerThanMs, ...filter } = parseOrThrow(optionsSchema, given, 'jobs')
  const after = cursor === undefined ? undefined : parseCursor(cursor)
  const isAged = olderThanMs !== undefined || newerThanMs !== undefined
  const nowMs = isAged ? await redisTimeMs(redis, keys.config) : 0
  const walk = walkIndex(redis, keys, {
    ...filter,
    to: olderThanMs === undefined ? undefined : nowMs - olderThanMs,
    from: newerThanMs === undefined ? undefined : nowMs - newerThanMs,
    after,
    count: limit + 1,
    signal,
  })
  const jobs: JobSummary[] = []
  let last: Place | undefined
  let found: IndexedJob[] = []
  let expired = 0
  const isCut = () => expired >= MAX_EXPIRED
  for await (const run of walk) {
    found.push(...run)
    // Fill the places of expired jobs, and read one job more to learn whether there is a next page.
    while (found.length > limit - jobs.length && jobs.length < limit && !isCut()) await listNext()
    if (jobs.length === limit || isCut()) break
  }
  if (!isCut()) await listNext()
  const hasMore = found.length > 0 || isCut()
  return { jobs, ...(hasMore && last !== undefined ? { next_cursor: formatCursor(last) } : {}) }

  async function listNext(): Promise<void> {
    const next = found.slice(0, limit - jobs.length)
    found = found.slice(next.length)
    last = next.at(-1) ?? last
    const listed = await summarizeJobs(redis, keys, next)
    jobs.push(...listed)
    expired += next.length - listed.length
  }
}

const placeSchema = z.tuple([z.number(), z.string().min(1)])

function formatCursor({ since, jobId }: Place): string {
  return Buffer.from(JSON.stringify([since, jobId])).toString('base64url')
}

function parseCursor(cursor: string): Place {
  try {
    const [since, jobId] = placeSchema.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString()))
    const place = { since, jobId }
    if (formatCursor(place) === cursor) return place
  } catch {
    // Fall through to the error below.
  }
  throw new PoolError('INVALID_PARAMS', `cursor: expected the next_cursor of a page, got ${shown(cursor)}`)
}
