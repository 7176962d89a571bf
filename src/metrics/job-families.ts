/** Families from the counters in Redis, which event writes increment: they outlive every process. */
import { ERROR_CODES } from '../contract/codes.ts'
import { BOUNDS, HISTOGRAMS, INFINITE_BOUND, counterFields } from '../contract/counters.ts'
import type { HistogramName, KnownPriority } from '../contract/counters.ts'
import { PRIORITIES } from '../contract/job.ts'
import type { Priority } from '../contract/job.ts'
import { stateOfError } from '../contract/job-states.ts'
import type { Family, FamilyType, Label, Sample } from './family.ts'

/** The counters of a pool. */
export interface PoolCounters {
  readonly poolId: string
  /** The raw HASH. */
  readonly fields: Readonly<Record<string, string>>
}

const COUNTERS = {
  tgi_pool_jobs_queued_total: 'Jobs accepted',
  tgi_pool_jobs_started_total: 'Jobs whose first attempt began',
  tgi_pool_jobs_total: 'Jobs that are over, by outcome and code',
  tgi_pool_tokens_total: 'Tokens of jobs that are over: in (prompts of answered jobs), out (published)',
} as const

const HISTOGRAM_NAMES: Readonly<Record<HistogramName, readonly [name: string, help: string]>> = {
  queue_time: ['tgi_pool_queue_time_seconds', 'From acceptance to the first attempt'],
  first_token: [
    'tgi_pool_time_to_first_token_seconds',
    'From acceptance to the first token, of answered jobs',
  ],
  duration: ['tgi_pool_job_duration_seconds', 'From acceptance to the last token, of answered jobs'],
}

/** The TYPE of each. */
export const JOB_FAMILY_TYPES: ReadonlyMap<string, FamilyType> = new Map<string, FamilyType>([
  ...Object.keys(COUNTERS).map((name) => [name, 'counter'] as const),
  ...Object.values(HISTOGRAM_NAMES).map(([name]) => [name, 'histogram'] as const),
])

const KNOWN_PRIORITIES = Object.keys(PRIORITIES) as Priority[]

/** Their samples. Every series with known labels exists from the start, at 0, so that the first increase shows. */
export function jobFamilies(pools: readonly PoolCounters[]): Family[] {
  const counter = (name: keyof typeof COUNTERS, samplesOf: (pool: PoolCounters) => Sample[]): Family => ({
    name,
    type: 'counter',
    help: COUNTERS[name],
    samples: pools.flatMap(samplesOf),
  })
  return [
    counter('tgi_pool_jobs_queued_total', byPriority('tgi_pool_jobs_queued_total', counterFields.queued)),
    counter('tgi_pool_jobs_started_total', byPriority('tgi_pool_jobs_started_total', counterFields.started)),
    counter('tgi_pool_jobs_total', jobSamples),
    counter('tgi_pool_tokens_total', tokenSamples),
    ...HISTOGRAMS.map((key): Family => {
      const [name, help] = HISTOGRAM_NAMES[key]
      return { name, type: 'histogram', help, samples: pools.flatMap((pool) => histogram(key, name, pool)) }
    }),
  ]
}

function byPriority(name: string, fieldOf: (priority: KnownPriority) => string) {
  return ({ poolId, fields }: PoolCounters): Sample[] =>
    prioritiesIn(fields, fieldOf).map((priority) =>
      sample(name, poolId, [['priority', priority]], fields[fieldOf(priority)] ?? '0'),
    )
}

/** All priorities, and '' for writers that did not know their job's. */
function prioritiesIn(
  fields: PoolCounters['fields'],
  fieldOf: (priority: KnownPriority) => string,
): KnownPriority[] {
  return Object.hasOwn(fields, fieldOf('')) ? [...KNOWN_PRIORITIES, ''] : KNOWN_PRIORITIES
}

function jobSamples({ poolId, fields }: PoolCounters): Sample[] {
  const ends: readonly (readonly [outcome: string, code: string])[] = [
    ['ended', ''],
    ...ERROR_CODES.map((code) => [stateOfError(code), code] as const),
  ]
  return ends.map(([outcome, code]) => {
    const labels: Label[] = [
      ['outcome', outcome],
      ['code', code],
    ]
    return sample('tgi_pool_jobs_total', poolId, labels, fields[counterFields.jobs(outcome, code)] ?? '0')
  })
}

function tokenSamples({ poolId, fields }: PoolCounters): Sample[] {
  return (['in', 'out'] as const).map((direction) => {
    const count = fields[counterFields.tokens(direction)] ?? '0'
    return sample('tgi_pool_tokens_total', poolId, [['direction', direction]], count)
  })
}

function histogram(key: HistogramName, name: string, { poolId, fields }: PoolCounters): Sample[] {
  const sumOf = (priority: KnownPriority) => counterFields.sum(key, priority)
  return prioritiesIn(fields, sumOf).flatMap((priority) => {
    const labels: Label[] = [['priority', priority]]
    let count = 0
    const buckets = [...BOUNDS[key].map(String), INFINITE_BOUND].map((bound) => {
      count += Number(fields[counterFields.bucket(key, priority, bound)] ?? 0)
      return sample(`${name}_bucket`, poolId, [...labels, ['le', bound]], String(count))
    })
    const seconds = Number(fields[sumOf(priority)] ?? 0) / 1000
    return [
      ...buckets,
      sample(`${name}_sum`, poolId, labels, String(seconds)),
      sample(`${name}_count`, poolId, labels, String(count)),
    ]
  })
}

function sample(name: string, poolId: string, labels: readonly Label[], value: string): Sample {
  return { name, labels: [['pool_id', poolId], ...labels], value }
}
