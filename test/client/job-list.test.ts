import { describe, expect } from 'vitest'
import { openPool } from '../../src/client/pools.ts'
import type { JobListOptions } from '../../src/client/job-list.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { JOB_STATES } from '../../src/contract/job-states.ts'
import { jobSummarySchema } from '../../src/contract/job-summary.ts'
import type { JobSummary } from '../../src/contract/wire-types.ts'
import { newJobId } from '../../src/contract/ids.ts'
import { SEEDED_DEADLINE_MS, seedJobs } from '../../bench/support/seed-jobs.ts'
import type { SeededJob } from '../../bench/support/seed-jobs.ts'
import { test as base } from '../support/redis.ts'

/** A pool whose jobs are seeded, not run. */
interface Stage {
  readonly client: PoolClient
  seed(jobs: readonly SeededJob[]): Promise<void>
  /** All pages, with what happens between two of them. */
  all(options?: JobListOptions, between?: (page: number) => Promise<unknown>): Promise<JobSummary[]>
}

const test = base.extend('stage', async ({ redis }, { onCleanup }): Promise<Stage> => {
  const client = await openPool({ redisUrl: redis.url, pool: 'p' })
  onCleanup(() => client.close())
  await client.create()
  return {
    client,
    seed: (jobs) => seedJobs(redis.redis, redis.keys, jobs),
    async all(options = {}, between = async () => undefined) {
      const jobs: JobSummary[] = []
      let cursor: string | undefined
      for (let page = 1; ; page += 1) {
        const { jobs: some, next_cursor: next } = await client.jobs({ ...options, cursor })
        jobs.push(...some)
        if (next === undefined) return jobs
        cursor = next
        await between(page)
      }
    },
  }
})

const NOW = Date.now()
const job = (jobId: string, rest: Partial<SeededJob> = {}): SeededJob => ({
  jobId,
  state: 'queued',
  priority: 'interactive',
  since: NOW,
  ...rest,
})
const times = (since: number) => ({
  since,
  accepted_at: since - 1000,
  deadline_at: since + SEEDED_DEADLINE_MS,
})
const isOld = ({ since }: SeededJob) => since < NOW
const about = (at: number) => ({
  priority: at % 2 === 0 ? 'interactive' : 'batch',
  correlation_id: `c-${at}`,
  ...times(NOW - at),
})
const idsOf = (jobs: readonly JobSummary[]) => jobs.map(({ job_id: id }) => id)

describe('a list of jobs', () => {
  test('has the newest first over all states, with what the events say', async ({ stage, redis }) => {
    await stage.seed(
      JOB_STATES.map((state, at) =>
        job(`${state}-job`, {
          state,
          since: NOW - at,
          priority: at % 2 === 0 ? 'interactive' : 'batch',
          correlationId: `c-${at}`,
        }),
      ),
    )
    const { jobs, next_cursor: next } = await stage.client.jobs()
    expect(next).toBeUndefined()
    expect(jobs).toStrictEqual([
      { job_id: 'queued-job', state: 'queued', ...about(0) },
      { job_id: 'started-job', state: 'started', ...about(1) },
      { job_id: 'ended-job', state: 'ended', ...about(2) },
      { job_id: 'failed-job', state: 'failed', ...about(3), code: 'WORKER_RESET' },
      { job_id: 'cancelled-job', state: 'cancelled', ...about(4), code: 'CANCELLED' },
    ])
    for (const one of jobs) expect(jobSummarySchema.parse(one)).toEqual(one)
    expect(await redis.redis.zcard(redis.keys.batchIndex)).toBe(2)
  })

  test('of one state, one priority or one age has no other jobs', async ({ stage }) => {
    const jobs = JOB_STATES.flatMap((state) =>
      (['interactive', 'batch'] as const).flatMap((priority) =>
        [0, 3_600_000].map((age) =>
          job(`${state}.${priority}.${age}`, { state, priority, since: NOW - age }),
        ),
      ),
    )
    await stage.seed(jobs)
    const found = async (options: JobListOptions) =>
      idsOf(await stage.all({ ...options, limit: 3 })).toSorted()
    const seeded = (fits: (one: SeededJob) => boolean) =>
      jobs
        .filter(fits)
        .map(({ jobId }) => jobId)
        .toSorted()
    for (const state of JOB_STATES)
      expect(await found({ state })).toEqual(seeded((one) => one.state === state))
    for (const priority of ['interactive', 'batch'] as const) {
      expect(await found({ priority })).toEqual(seeded((one) => one.priority === priority))
      expect(await found({ priority, state: 'failed' })).toEqual(
        seeded((one) => one.priority === priority && one.state === 'failed'),
      )
    }
    expect(await found({ olderThanMs: 3_000_000 })).toEqual(seeded(isOld))
    expect(await found({ newerThanMs: 3_000_000 })).toEqual(seeded((one) => !isOld(one)))
    expect(await found({ olderThanMs: 3_000_000, newerThanMs: 3_000_000 })).toEqual([])
  })

  test('of a new enqueue has its priority and its correlation id', async ({ stage }) => {
    await stage.client.enqueue({ inputs: 'x', priority: 'batch' }, { jobId: 'b', correlationId: 'mine' })
    await stage.client.enqueue({ inputs: 'x' }, { jobId: 'a' })
    const { jobs } = await stage.client.jobs()
    expect(jobs).toMatchObject([
      { job_id: 'a', priority: 'interactive', state: 'queued' },
      { job_id: 'b', priority: 'batch', state: 'queued', correlation_id: 'mine' },
    ])
    await stage.client.forget('b')
    expect(idsOf((await stage.client.jobs()).jobs)).toEqual(['a'])
  })

  test('of no jobs is empty, and of no pool an error', async ({ stage, redis }) => {
    expect(await stage.client.jobs()).toEqual({ jobs: [] })
    const other = await openPool({ redisUrl: redis.url, pool: 'nowhere' })
    await expect(other.jobs()).rejects.toMatchObject({ kind: 'POOL_UNAVAILABLE' })
    await other.close()
  })

  test.for<[options: unknown, message: RegExp]>([
    [{ limit: 0 }, /^jobs: limit: .*>=1, got 0/],
    [{ limit: 1001 }, /^jobs: limit: .*<=1000, got 1001/],
    [{ limit: 1.5 }, /^jobs: limit: expected int/],
    [{ state: 'running' }, /^jobs: state: .*"queued".*, got "running"/],
    [{ priority: 'high' }, /^jobs: priority: .*"batch", got "high"/],
    [{ olderThanMs: -1 }, /^jobs: olderThanMs: .*>=0, got -1/],
    [{ older: 1 }, /^jobs: unknown field "older"/],
    [{ cursor: '' }, /^cursor: expected the next_cursor of a page, got ""/],
    [{ cursor: 'x'.repeat(5000) }, /^cursor: expected the next_cursor of a page, got "x{59}…$/],
    [{ cursor: Buffer.from('[1]').toString('base64url') }, /^cursor: expected/],
    [{ cursor: `${Buffer.from('[1,"a"]').toString('base64url')}=` }, /^cursor: expected/],
    [{ cursor: Buffer.from('["1","a"]').toString('base64url') }, /^cursor: expected/],
  ])('refuses %o', async ([options, message], { stage }) => {
    const listing = stage.client.jobs(options as JobListOptions)
    await expect(listing).rejects.toMatchObject({
      kind: 'INVALID_PARAMS',
      message: expect.stringMatching(message),
    })
  })
})

describe('pages', () => {
  test('show each job that does not change exactly once, while others come, go and move', async ({
    stage,
    redis,
  }) => {
    // Six milliseconds for 180 jobs: most share theirs with others, of their state and of others.
    const still = Array.from({ length: 150 }, (_, at) =>
      job(newJobId(), { state: JOB_STATES[at % 5] ?? 'queued', since: NOW - (at % 6) }),
    )
    const restless = Array.from({ length: 30 }, (_, at) => job(newJobId(), { since: NOW - (at % 6) }))
    await stage.seed([...still, ...restless])
    for (const limit of [1, 7, 1000]) {
      const seen = await stage.all({ limit }, async (page) => {
        const one = restless[page % restless.length]
        if (one === undefined) return
        if (page % 3 === 0) await stage.client.cancel(one.jobId).catch(() => undefined)
        else if (page % 3 === 1) await redis.redis.del(redis.keys.events(one.jobId))
        else await stage.seed([job(newJobId(), { since: NOW - (page % 6) })])
      })
      const counts = Map.groupBy(idsOf(seen), (id) => id)
      for (const { jobId } of still) expect(counts.get(jobId)?.length, `${limit}: ${jobId}`).toBe(1)
      const places = seen.map(({ since }) => since)
      expect(places).toEqual(places.toSorted((a, b) => b - a))
    }
  })

  test('of a rare priority are found behind any number of other jobs', async ({ stage }) => {
    // More of one state than Redis filters by itself, and fewer of another one.
    const jobs = Array.from({ length: 12_500 }, (_, at) =>
      job(`job-${String(at).padStart(5, '0')}`, {
        state: at % 6 === 0 ? 'failed' : 'queued',
        since: NOW - Math.floor(at / 3),
        priority: at % 500 === 499 || at % 500 === 0 ? 'batch' : 'interactive',
      }),
    )
    await stage.seed(jobs)
    for (const state of [undefined, 'failed'] as const) {
      const expected = jobs
        .filter((one) => one.priority === 'batch' && (state === undefined || one.state === state))
        .toSorted((a, b) => b.since - a.since || (a.jobId < b.jobId ? 1 : -1))
        .map(({ jobId }) => jobId)
      expect(expected.length).toBeGreaterThan(8)
      expect(idsOf(await stage.all({ priority: 'batch', state, limit: 7 }))).toEqual(expected)
    }
  })

  test('of the priority that nearly all others lack are found as well', async ({ stage }) => {
    const jobs = Array.from({ length: 2000 }, (_, at) =>
      job(`job-${String(at).padStart(4, '0')}`, {
        state: JOB_STATES[at % 5] ?? 'queued',
        since: NOW - at,
        priority: at % 200 === 0 ? 'interactive' : 'batch',
      }),
    )
    await stage.seed(jobs)
    const found = await stage.all({ priority: 'interactive', limit: 3 })
    expect(idsOf(found)).toEqual(
      Array.from({ length: 10 }, (_, at) => `job-${String(at * 200).padStart(4, '0')}`),
    )
  })

  test('go on where thousands share one millisecond', async ({ stage }) => {
    const jobs = Array.from({ length: 2500 }, (_, at) => job(`job-${String(at).padStart(4, '0')}`))
    await stage.seed(jobs)
    const seen = idsOf(await stage.all({ limit: 600 }))
    expect(seen).toEqual(jobs.map(({ jobId }) => jobId).toReversed())
  })

  test('go on behind members of the index that are no jobs', async ({ stage, redis: { redis, keys } }) => {
    const jobs = Array.from({ length: 5 }, (_, at) => job(`job-${at}`, { since: NOW - at }))
    await stage.seed(jobs)
    const foreign = ['inf', 'first', '-inf', 'last', String(NOW + 1), '', String(NOW), 'x'.repeat(100_000)]
    await redis.zadd(keys.index('queued'), ...foreign)
    await redis.zadd(keys.index('queued'), NOW, Buffer.from([0xff, 0xfe]), NOW, Buffer.from([0xff, 0xfd]))
    // A job that waits is listed by its deadline alone.
    await redis.zadd(keys.deadlines, NOW, 'first', NOW, 'last', NOW, '')
    for (const options of [{ limit: 1 }, { limit: 2, state: 'queued' }, { limit: 9 }] as const)
      expect(idsOf(await stage.all(options))).toEqual(jobs.map(({ jobId }) => jobId))
  })

  test('pass over a bounded number of expired jobs each, and the next goes on there', async ({
    stage,
    redis: { redis, keys },
  }) => {
    const jobs = Array.from({ length: 3 }, (_, at) => job(`job-${at}`, { since: NOW - 60_000 - at }))
    await stage.seed(jobs)
    for (let from = 0; from < 21_000; from += 1000) {
      const members = Array.from({ length: 1000 }, (_, at) => [NOW - from - at, `expired-${from + at}`])
      await redis.zadd(keys.index('ended'), ...members.flat())
    }
    const first = await stage.client.jobs({ limit: 1000 })
    expect(first).toEqual({ jobs: [], next_cursor: expect.any(String) })
    const pages: number[] = []
    const all = await stage.all({ limit: 1000 }, async (page) => pages.push(page))
    expect(idsOf(all)).toEqual(jobs.map(({ jobId }) => jobId))
    expect(pages).toEqual([1, 2])
  })

  test('are full although jobs on the way have expired, and a bad stream costs only its own details', async ({
    stage,
    redis: { redis, keys },
  }) => {
    await stage.seed(
      Array.from({ length: 20 }, (_, at) => job(`job-${at}`, { since: NOW - at, state: 'started' })),
    )
    for (const at of [0, 2, 3, 4, 5, 11]) await redis.del(keys.events(`job-${at}`), keys.deadlines)
    await redis.del(keys.events('job-7'))
    await redis.set(keys.events('job-7'), 'no stream')
    await redis.del(keys.events('job-8'))
    await redis.xadd(keys.events('job-8'), '5-1', 'event', 'started', 'data', '{}')
    await redis.del(keys.events('job-9'))
    await redis.xadd(keys.events('job-9'), '5-1', 'who', 'knows')
    const first = await stage.client.jobs({ limit: 5 })
    expect(idsOf(first.jobs)).toEqual(['job-1', 'job-6', 'job-7', 'job-8', 'job-9'])
    const bare = { state: 'started', priority: 'interactive' }
    expect(first.jobs.slice(2)).toStrictEqual(
      [7, 8, 9].map((at) => ({ job_id: `job-${at}`, since: NOW - at, ...bare })),
    )
    expect(first.jobs[1]).toMatchObject({ accepted_at: NOW - 6 - 1000 })
    const rest = await stage.client.jobs({ limit: 5, cursor: first.next_cursor })
    expect(idsOf(rest.jobs)).toEqual([10, 12, 13, 14, 15].map((at) => `job-${at}`))
  })
})

/** What an answer with a hundred jobs of ten thousand may cost. */
const MOST: readonly (readonly [options: JobListOptions, jobs: number, commands: number])[] = [
  // The pool's config, a page of each state, their priorities, then one command a job, or two for one that failed.
  [{}, 100, 130],
  [{ state: 'queued' }, 100, 110],
  [{ state: 'failed' }, 100, 210],
  [{ priority: 'interactive' }, 100, 130],
  // At the far end: a page of each state, how many there are, and those of the priority.
  [{ priority: 'batch' }, 10, 40],
  [{ priority: 'batch', state: 'ended' }, 2, 15],
  [{ olderThanMs: 900_000 }, 100, 130],
]

test('a list takes few commands, however many jobs there are', async ({ stage, redis: { redis } }) => {
  const jobs = Array.from({ length: 10_000 }, (_, at) =>
    job(`job-${at}`, {
      state: JOB_STATES[at % 5] ?? 'queued',
      since: NOW - at * 100,
      priority: at >= 9990 ? 'batch' : 'interactive',
    }),
  )
  await stage.seed(jobs)
  for (const [options, count, most] of MOST) {
    await redis.config('RESETSTAT')
    const page = await stage.client.jobs(options)
    const stats = await redis.info('commandstats')
    const calls = [...stats.matchAll(/cmdstat_([\w|]+):calls=(\d+)/g)].map(([, name, n]) => `${name} ${n}`)
    const sum = calls
      .filter((line) => !/^(config|info|cluster)/.test(line))
      .reduce((total, line) => total + Number(line.split(' ')[1]), 0)
    const what = `${JSON.stringify(options)}: ${calls.join(', ')}`
    expect(page.jobs.length, what).toBe(count)
    expect(sum, what).toBeLessThanOrEqual(most)
  }
})
