import { describe, expect } from 'vitest'
import { seedJobs } from '../../bench/support/seed-jobs.ts'
import type { SeededJob } from '../../bench/support/seed-jobs.ts'
import { JOB_STATES } from '../../src/contract/job-states.ts'
import { jobSummarySchema } from '../../src/contract/job-summary.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { jsonLines } from './run-cli.ts'
import { test as base } from './stage.ts'

const HOUR = 3_600_000
const NOW = Date.now()

/** A pool with jobs; the ages are such that no slow test can change how they read. */
const test = base.extend('seed', async ({ stage }, { onCleanup }) => {
  await stage.client()
  const redis = await connectToServer(stage.redisUrl, { role: 'commands' })
  onCleanup(() => redis.disconnect())
  return (jobs: readonly SeededJob[]) => seedJobs(redis, poolKeys(stage.pool), jobs)
})

const many = (count: number) =>
  Array.from({ length: count }, (_, at): SeededJob => {
    const jobId = `job-${String(at).padStart(4, '0')}`
    return { jobId, state: 'queued', priority: 'interactive', since: NOW - at }
  })

describe('jobs', () => {
  test('are a table with ages, or one JSON line each', async ({ stage, seed }) => {
    const states: SeededJob[] = JOB_STATES.map((state, at) => ({
      jobId: `${state}-1`,
      state,
      priority: at % 2 === 0 ? 'interactive' : 'batch',
      since: NOW - (at + 1) * HOUR - HOUR / 2,
      correlationId: at === 1 ? 'mine' : undefined,
    }))
    await seed(states)
    const [plain, json] = await Promise.all([stage.cli(['jobs']), stage.cli(['jobs', '--json'])])
    expect(plain).toMatchObject({ status: 0, stderr: '' })
    const lines = plain.stdout.replaceAll(/\d+m\b/g, 'Nm').split('\n')
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual(
      [
        ['JOB', 'STATE', 'FOR', 'PRIORITY', 'ACCEPTED', 'DEADLINE', 'CORRELATION', 'CODE'],
        ['queued-1', 'queued', '1hNm', 'interactive', '1hNm ago', 'in 6d22h', '–'],
        ['started-1', 'started', '2hNm', 'batch', '2hNm ago', 'in 6d21h', 'mine'],
        ['ended-1', 'ended', '3hNm', 'interactive', '3hNm ago', '–', '–'],
        ['failed-1', 'failed', '4hNm', 'batch', '4hNm ago', '–', '–', 'WORKER_RESET'],
        ['cancelled-1', 'cancelled', '5hNm', 'interactive', '5hNm ago', '–', '–', 'CANCELLED'],
        [''],
      ].map((row) => row),
    )
    expect(json).toMatchObject({ status: 0, stderr: '' })
    const jobs = jobSummarySchema.array().parse(jsonLines(json.stdout))
    expect(jobs).toEqual((await (await stage.client()).jobs()).jobs)
    expect(jobs.map(({ job_id: id }) => id)).toEqual(states.map(({ jobId }) => jobId))
  })

  test('are listed although the events of all on the first page have expired', async ({ stage, seed }) => {
    await seed([{ jobId: 'old', state: 'queued', priority: 'batch', since: NOW - HOUR }])
    const redis = await connectToServer(stage.redisUrl, { role: 'commands' })
    const index = poolKeys(stage.pool).index('ended')
    for (let from = 0; from < 11_000; from += 1000)
      await redis.zadd(
        index,
        ...Array.from({ length: 1000 }, (_, at) => [NOW - from - at, `expired-${from + at}`]).flat(),
      )
    redis.disconnect()
    expect((await (await stage.client()).jobs()).jobs).toEqual([])
    const { status, stdout } = await stage.cli(['jobs'])
    expect(status).toBe(0)
    expect(stdout.split('\n').map((line) => line.split(' ')[0])).toEqual(['JOB', 'old', ''])
  })

  test('of a filter are those alone', async ({ stage, seed }) => {
    await seed([
      { jobId: 'young', state: 'queued', priority: 'batch', since: NOW },
      { jobId: 'old', state: 'queued', priority: 'batch', since: NOW - 48 * HOUR },
      { jobId: 'other', state: 'queued', priority: 'interactive', since: NOW - 48 * HOUR },
      { jobId: 'over', state: 'failed', priority: 'batch', since: NOW - 48 * HOUR },
    ])
    const ids = async (...args: string[]) => {
      const { status, stdout } = await stage.cli(['jobs', '--json', ...args])
      expect(status).toBe(0)
      return jobSummarySchema
        .array()
        .parse(jsonLines(stdout))
        .map(({ job_id: id }) => id)
    }
    const batch = ['--state', 'queued', '--priority', 'batch']
    const results = await Promise.all([
      ids(...batch),
      ids(...batch, '--older-than', '1d'),
      ids('--newer-than', '24h'),
      ids('--state', 'failed'),
      ids('--state', 'ended'),
    ])
    expect(results).toEqual([['young', 'old'], ['old'], ['young'], ['over'], []])
  })

  test('are the latest hundred, and stderr says that there are more', async ({ stage, seed }) => {
    await seed(many(1205))
    const [some, few, all] = await Promise.all([
      stage.cli(['jobs']),
      stage.cli(['jobs', '--limit', '1100', '--json']),
      stage.cli(['jobs', '--all']),
    ])
    expect(some.stdout.split('\n')).toHaveLength(1 + 100 + 1)
    expect(some.stderr).toBe(
      'tgi-pool: only the latest 100 jobs are listed; use --limit N or --all for more\n',
    )
    expect(jsonLines(few.stdout)).toHaveLength(1100)
    expect(few.stderr).toBe('')
    expect(all).toMatchObject({ status: 0, stderr: '' })
    const rows = all.stdout.trimEnd().split('\n')
    expect(rows.slice(1).map((row) => row.split(' ')[0])).toEqual(many(1205).map(({ jobId }) => jobId))
    expect(rows[0]).toMatch(/^JOB /)
  })

  test('that are none are said to be none, or no lines', async ({ stage }) => {
    await stage.client()
    const [plain, json] = await Promise.all([stage.cli(['jobs']), stage.cli(['jobs', '--json'])])
    expect(plain).toEqual({ status: 0, signal: undefined, stdout: 'no jobs\n', stderr: '' })
    expect(json).toMatchObject({ status: 0, stdout: '', stderr: '' })
  })

  test.for([
    [['--state', 'running'], /--state .*'running'.*queued, started, ended, failed, cancelled/],
    [['--priority', 'high'], /--priority .*'high'.*interactive, batch/],
    [['--older-than', '10'], /--older-than .*'10'.*such as 90s, 10m, 2h or 1d/],
    [['--limit', '0'], /--limit .*'0'.*whole number from 1/],
    [['--limit', '5', '--all'], /'--all'.*'--limit <n>'/],
  ] as const)('refuses %j', async ([args, message], { stage }) => {
    const { status, stdout, stderr } = await stage.cli(['jobs', ...args])
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toMatch(message)
  })

  test('of a pool that nobody made are one clear error', async ({ stage }) => {
    const result = await stage.cli(['jobs', '--pool', 'nowhere'])
    expect(result).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringContaining('POOL_UNAVAILABLE'),
    })
  })
})
