/**
 * How long does a list of jobs take when there are many?
 *
 * Measured, on a pool with 10,000 jobs of all states, ten of them batch jobs that are the oldest: a page of a hundred jobs, one
 * after another, through the library and through a gateway in a process of its own; without a filter (`all`), of each state, of
 * each priority, and of both. `batch` is the filter that fits hardly any job, at the far end. `command` is what the verb `jobs` does
 * besides Node's start-up and printing: connect, list, close. `slowest_p50` is the median of the filter that takes longest; `worst`
 * is the slowest sample of all, which a busy machine decides on.
 *
 * The baseline is the same with a pool that has no job, in the same run.
 */
import { openPool } from '../src/client/pools.ts'
import type { JobListOptions } from '../src/client/job-list.ts'
import { newJobId } from '../src/contract/ids.ts'
import { JOB_STATES } from '../src/contract/job-states.ts'
import type { PoolClient } from '../src/client/pool-client.ts'
import { startGatewayProcess } from './gateway/gateway-process.ts'
import { monotonicMs } from './support/clock.ts'
import { withLab } from './support/lab.ts'
import type { Lab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { seedJobs } from './support/seed-jobs.ts'
import { durations, median } from './support/statistics.ts'

/** See the head of this file. */
export const jobList: Bench = {
  name: 'job-list',
  question: 'How long does a list of jobs take when there are many?',
  subjects: ['listed', 'empty'],
  run: (settings) =>
    withLab({ tokensPerSecond: 50, prefillMs: 0, maxConcurrentRequests: 1, observed: false }, (lab) =>
      measure(lab, settings),
    ),
}

const PRIORITIES = ['interactive', 'batch'] as const

/** Every combination of filters, by name. */
const FILTERS: ReadonlyMap<string, JobListOptions> = new Map(
  [undefined, ...JOB_STATES].flatMap((state) =>
    [undefined, ...PRIORITIES].map((priority) => [
      [state, priority].filter((part) => part !== undefined).join('_') || 'all',
      { state, priority },
    ]),
  ),
)

const BATCH_JOBS = 10

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const { count, samples } = settings.quick ? { count: 200, samples: 3 } : { count: 10_000, samples: 50 }
  const redis = await lab.connect('commands')
  const gateway = await startGatewayProcess({ redisUrl: lab.redisUrl })
  const times = new Map<string, number[]>()
  try {
    const url = `${gateway.url}/v1/jobs?pool=${lab.keys.pool}`
    settings.progress('job-list: empty')
    const empty = await listTimes(lab.pool, {}, samples)
    const emptyOverHttp = await requestTimes(url, samples)
    const now = Date.now()
    settings.progress(`job-list: ${count} jobs`)
    await seedJobs(
      redis,
      lab.keys,
      Array.from({ length: count }, (_, at) => ({
        jobId: newJobId(),
        state: JOB_STATES[at % JOB_STATES.length] ?? 'queued',
        priority: at < count - BATCH_JOBS ? 'interactive' : 'batch',
        since: now - at * 100,
      })),
    )
    for (const [name, filter] of FILTERS) {
      settings.progress(`job-list: ${name}`)
      times.set(name, await listTimes(lab.pool, filter, samples))
      const query = Object.entries(filter).flatMap(([field, value]) =>
        value === undefined ? [] : [`&${field}=${String(value)}`],
      )
      times.set(`http_${name}`, await requestTimes(url + query.join(''), samples))
    }
    times.set('command', await commandTimes(lab, samples))
    return {
      figures: {
        jobs: count,
        ...shown(times, ['all', 'batch', 'failed', 'command']),
        ...shown(times, ['http_all', 'http_batch', 'http_failed']),
        listed_slowest_p50_ms: worstOf(times, '', median),
        listed_http_slowest_p50_ms: worstOf(times, 'http_', median),
        listed_worst_ms: worstOf(times, '', slowest),
        listed_http_worst_ms: worstOf(times, 'http_', slowest),
      },
      baseline: { ...durations('empty_all', empty), ...durations('empty_http_all', emptyOverHttp) },
      ratios: {},
      bars: ['', 'http_'].map((prefix) => ({
        what: `slowest filter, ${prefix === '' ? 'library' : 'GET /v1/jobs'}, p50 (ms)`,
        limit: { atMost: 100 },
        got: worstOf(times, prefix, median),
      })),
    }
  } finally {
    await gateway.stop()
  }
}

function shown(times: ReadonlyMap<string, number[]>, names: readonly string[]): Record<string, number> {
  return Object.assign(
    {},
    ...names.map((name) => durations(`listed_${name}`, times.get(name) ?? [])),
  ) as Record<string, number>
}

/** The slowest kind of list, by one figure of its samples. */
function worstOf(
  times: ReadonlyMap<string, number[]>,
  prefix: string,
  of: (samples: readonly number[]) => number,
): number {
  const names = [...times.keys()].filter((name) => name.startsWith('http_') === (prefix !== ''))
  return Math.max(...names.map((name) => of(times.get(name) ?? [])))
}

const slowest = (samples: readonly number[]) => Math.max(...samples)

/** The first one warms up the code that is measured, and does not count. */
async function timesOf(samples: number, work: () => Promise<unknown>): Promise<number[]> {
  await work()
  const times: number[] = []
  for (let nth = 0; nth < samples; nth += 1) {
    const from = monotonicMs()
    await work()
    times.push(monotonicMs() - from)
  }
  return times
}

function listTimes(pool: PoolClient, filter: JobListOptions, samples: number): Promise<number[]> {
  return timesOf(samples, () => pool.jobs(filter))
}

function requestTimes(url: string, samples: number): Promise<number[]> {
  return timesOf(samples, async () => {
    const response = await fetch(url)
    if (!response.ok) throw new Error(`GET /v1/jobs: HTTP ${response.status}`)
    await response.text()
  })
}

function commandTimes(lab: Lab, samples: number): Promise<number[]> {
  return timesOf(samples, async () => {
    const pool = await openPool({ redisUrl: lab.redisUrl, pool: lab.keys.pool })
    await pool.jobs()
    await pool.close()
  })
}
