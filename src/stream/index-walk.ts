import { JOB_STATES } from '../contract/job-states.ts'
import type { JobStateName } from '../contract/job-states.ts'
import type { Priority } from '../contract/job.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** A place in the index. Unique for each job: jobs of the same millisecond are ordered by id. */
export interface Place {
  /** When a job entered its state (ms since 1970). */
  readonly since: number
  readonly jobId: string
}

/** A job in the index. */
export interface IndexedJob extends Place {
  readonly state: JobStateName
  readonly priority: Priority
}

/** Which jobs of the index to walk, and where to start. */
interface IndexQuery {
  /** @defaultValue all */
  readonly state?: JobStateName | undefined
  /** @defaultValue both */
  readonly priority?: Priority | undefined
  /** In their state since then or later (ms since 1970). */
  readonly from?: number | undefined
  /** In their state since then or earlier (ms since 1970). */
  readonly to?: number | undefined
  /** Only jobs after this place. */
  readonly after?: Place | undefined
  /** How many jobs the caller is likely to take. */
  readonly count: number
  readonly signal?: AbortSignal | undefined
}

/** Maximum number of jobs of one state that one command reads, unless more of them share a millisecond. */
const PER_COMMAND = 1000
/**
 * If hardly any of the first jobs of a state have the priority, Redis filters the rest itself, up to this many, because it serves no
 * other client meanwhile (10,000 take 5 ms).
 */
const MAX_FILTERED = 10_000

/**
 * Walks the jobs of the index, newest first, across all states. A job that does not change its state during the walk is yielded
 * exactly once. Each step takes two round trips.
 */
export async function* walkIndex(
  redis: RedisConnection,
  keys: PoolKeys,
  query: IndexQuery,
): AsyncGenerator<readonly IndexedJob[], void, undefined> {
  const states = query.state === undefined ? JOB_STATES : [query.state]
  const lanes = states.map((state) => createLane(redis, keys, state, query))
  // A job that changes state between two commands appears in two lanes; the newer place is the current one.
  const seen = new Set<string>()
  for (;;) {
    query.signal?.throwIfAborted()
    await Promise.all(lanes.map((lane) => lane.fill()))
    const run = takeRun(lanes).filter(({ jobId }) => !seen.has(jobId))
    if (run.length > 0) {
      for (const { jobId } of run) seen.add(jobId)
      const ids = run.map(({ jobId }) => jobId)
      const batch = await redis.zmscore(keys.batchIndex, ...ids)
      const jobs = run.map((job, at): IndexedJob => ({
        ...job,
        priority: batch[at] === null ? 'interactive' : 'batch',
      }))
      yield query.priority === undefined ? jobs : jobs.filter(({ priority }) => priority === query.priority)
    }
    if (lanes.every((lane) => lane.next === undefined && lane.isOver)) return
  }
}

type Found = Omit<IndexedJob, 'priority'>

/** The jobs of one state. */
interface Lane {
  /** The next buffered job. */
  readonly next: Found | undefined
  /** Whether all jobs have been read. */
  readonly isOver: boolean
  /** Reads the next jobs if none are buffered. */
  fill(): Promise<void>
  take(): void
}

function createLane(redis: RedisConnection, keys: PoolKeys, state: JobStateName, query: IndexQuery): Lane {
  let jobs: readonly Found[] = []
  let at = 0
  let isOver = false
  const key = keys.index(state)
  let { after } = query
  let size = Math.min(query.count, PER_COMMAND)
  let isFirst = true

  function parse(page: readonly string[]): Found[] {
    return parsePage(state, page).filter((job) => after === undefined || isBehind(job, after))
  }

  async function read(): Promise<void> {
    at = 0
    if (isFirst || query.priority === undefined || (await redis.zcard(key)) > MAX_FILTERED) await readPage()
    else await readFiltered(query.priority)
    isFirst = false
    after = jobs.at(-1) ?? after
    size = PER_COMMAND
  }

  /** All remaining jobs. */
  async function readFiltered(priority: Priority): Promise<void> {
    const { batchIndex } = keys
    const page =
      priority === 'batch'
        ? // A batch job's other score is the time of its end, or infinite.
          await redis.zinter(2, [key, batchIndex], 'AGGREGATE', 'MIN', 'WITHSCORES')
        : await redis.zdiff(2, key, batchIndex, 'WITHSCORES')
    const { from = -Infinity, to = Infinity } = query
    jobs = parse(page)
      .filter(({ since }) => since >= from && since <= to)
      .toReversed()
    isOver = true
  }

  /** Pages by place, not by offset: jobs that leave would shift those after them. */
  async function readPage(): Promise<void> {
    const max = Math.min(after?.since ?? Infinity, query.to ?? Infinity)
    // If jobs of one millisecond fill a page, read a larger one to get past them.
    for (let count = size; ; count *= 2) {
      const page = await redis.zrange(
        key,
        format(max),
        format(query.from ?? -Infinity),
        'BYSCORE',
        'REV',
        'LIMIT',
        0,
        count,
        'WITHSCORES',
      )
      isOver = page.length < 2 * count
      jobs = parse(page)
      if (jobs.length > 0 || isOver) break
    }
  }

  return {
    get next() {
      return jobs[at]
    },
    get isOver() {
      return isOver
    },
    async fill() {
      if (at >= jobs.length && !isOver) await read()
    },
    take: () => void (at += 1),
  }
}

/** Merges the lanes until one of them must be read again. */
function takeRun(lanes: readonly Lane[]): Found[] {
  const run: Found[] = []
  for (;;) {
    let newest: Found | undefined
    let from: Lane | undefined
    for (const lane of lanes) {
      const { next } = lane
      if (next === undefined && !lane.isOver) return run
      if (next === undefined || (newest !== undefined && !isBehind(newest, next))) continue
      newest = next
      from = lane
    }
    if (newest === undefined || from === undefined) return run
    run.push(newest)
    from.take()
  }
}

/** Whether a place comes after another one, newest first: Redis's reverse order of a sorted set. */
function isBehind(place: Place, other: Place): boolean {
  if (place.since !== other.since) return place.since < other.since
  return Buffer.compare(Buffer.from(place.jobId), Buffer.from(other.jobId)) < 0
}

function parsePage(state: JobStateName, page: readonly string[]): Found[] {
  const jobs: Found[] = []
  for (let at = 0; at + 1 < page.length; at += 2) {
    const [jobId = '', since] = [page[at], Number(page[at + 1])]
    // No job is without an id or a time, and JSON has no place for such a member, which something else wrote.
    if (jobId !== '' && Number.isFinite(since)) jobs.push({ jobId, state, since })
  }
  return jobs
}

function format(score: number): string {
  return Number.isFinite(score) ? String(score) : score > 0 ? '+inf' : '-inf'
}
