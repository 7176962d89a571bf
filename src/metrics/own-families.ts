/**
 * The metrics process exports these families of its own, besides those of the replicas. All samples of a replica get the labels
 * `engine`, `engine_version`, `pool_id`, `replica_id` and `model_id`, as far as known.
 *
 * | family | type | labels | meaning |
 * |---|---|---|---|
 * | `tgi_pool_redis_up` | gauge | | 1: Redis answered; 0: it did not, and there are no samples of pools and replicas |
 * | `tgi_pool_read_success` | gauge | `pool_id` | 1: queue and registry of the pool could be read; 0: its other families are missing |
 * | `tgi_pool_jobs` | gauge | `pool_id`, `state`, `priority` | jobs by `state`: `waiting` by `priority` (`interactive`, `batch`); `delayed` (handed back, not due yet) and `active` (with a worker) without `priority` |
 * | `tgi_pool_jobs_kept` | gauge | `pool_id`, `state` | jobs in the index by `state`: `queued`, `started`, and `ended`, `failed`, `cancelled` for as long as their events are kept |
 * | `tgi_pool_oldest_wait_seconds` | gauge | `pool_id` | age of the oldest job at the head of a queue, from its acceptance; 0: none waits. A job that went back behind others counts again once it is at the head |
 * | `tgi_pool_replica_info` | gauge | `pool_id`, `replica_id`, `engine`, `engine_version`, `model_id` | 1 |
 * | `tgi_pool_replica_state` | gauge | `pool_id`, `replica_id`, `state` | 1 for its current state, 0 for the others |
 * | `tgi_pool_replica_standbys` | gauge | `pool_id`, `replica_id` | workers on standby for it |
 * | `tgi_pool_slots` | gauge | `pool_id`, `replica_id` | requests that its worker may hold open now; 0 while it takes nothing |
 * | `tgi_pool_slots_configured` | gauge | `pool_id`, `replica_id` | most requests that its worker is configured to hold open |
 * | `tgi_pool_slots_busy` | gauge | `pool_id`, `replica_id` | attempts under way on it |
 * | `tgi_pool_replica_scrape_success` | gauge | `pool_id`, `replica_id` | 1: its own metrics are in this response; 0: the scrape failed |
 * | `tgi_pool_replica_scrape_duration_seconds` | gauge | `pool_id`, `replica_id` | duration of the scrape |
 * | `tgi_pool_replica_scrape_dropped_samples` | gauge | `pool_id`, `replica_id`, `reason` | dropped samples: `type` (another replica reported another TYPE first), `reserved` (a name of ours), `duplicate` (reported twice), `malformed` (an unreadable line; the log has its number and the reason), `limit` (more than 5,000 samples or 500 families; the largest families go first) |
 * | `tgi_pool_jobs_queued_total` | counter | `pool_id`, `priority` | jobs accepted |
 * | `tgi_pool_jobs_started_total` | counter | `pool_id`, `priority` | jobs whose first attempt began, plain BullMQ jobs included, which were never `queued` |
 * | `tgi_pool_jobs_total` | counter | `pool_id`, `outcome`, `code` | finished jobs: `ended` with the code "", `failed` with the code of its `error`, `cancelled` with `CANCELLED` |
 * | `tgi_pool_tokens_total` | counter | `pool_id`, `direction` | tokens of finished jobs: `in` prompt tokens of answered jobs, `out` tokens that any job published |
 * | `tgi_pool_queue_time_seconds` | histogram | `pool_id`, `priority` | from acceptance to the first attempt |
 * | `tgi_pool_time_to_first_token_seconds` | histogram | `pool_id`, `priority` | from acceptance to the first token, of answered jobs |
 * | `tgi_pool_job_duration_seconds` | histogram | `pool_id`, `priority` | from acceptance to the last token, of answered jobs |
 * | `process_*`, `nodejs_*` | | | this process: CPU, memory, event loop, garbage collection (prom-client's own) |
 *
 * Counters and histograms are kept in Redis and incremented by the write that queues, starts or ends a job. Each job counts once,
 * whichever process dies, and every metrics process exports the same values. All series exist from the start, at 0. If Redis loses
 * its last writes, it loses their counts, too. Prometheus takes that for a counter reset, so `rate` and `increase` may be too high
 * once.
 */
import { Gauge, Registry, collectDefaultMetrics } from 'prom-client'
import { replicaEntrySchema } from '../contract/replica-entry.ts'
import { labelValue } from './family.ts'
import type { Family, FamilyType } from './family.ts'
import { JOB_FAMILY_TYPES, jobFamilies } from './job-families.ts'
import { parseExposition } from './parse.ts'
import type { PoolReading, ReplicaFacts } from './pool-facts.ts'
import { DROP_REASONS } from './relabel.ts'
import type { DropReason } from './relabel.ts'
import type { Scrape } from './scrape.ts'

/** A replica and what the scrape of its own metrics returned. */
interface ReplicaReading {
  readonly replica: ReplicaFacts
  readonly scrape: Scrape
  readonly dropped: Readonly<Record<DropReason, number>>
}

/** All that one answer is made of. */
interface Reading {
  /** Undefined: Redis did not answer. */
  readonly pools: readonly PoolReading[] | undefined
  readonly replicas: readonly ReplicaReading[]
}

/** The families of this process. */
export interface OwnFamilies {
  /** The TYPE of each, whatever their values. */
  readonly types: ReadonlyMap<string, FamilyType>
  /** Their samples for a reading; series of what is gone are gone, too. */
  describe(reading: Reading): Promise<Family[]>
}

const STATES = replicaEntrySchema.shape.state.options
const OF_REPLICA = ['pool_id', 'replica_id'] as const

/** Registers them all. Those of the process look at it from now until it ends: make one for each process. */
export function createOwnFamilies(): OwnFamilies {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const gauges = createGauges(registry)
  return {
    // prom-client's types know no `untyped`, and their words are those of the format.
    types: new Map([
      ...registry.getMetricsAsArray().map(({ name, type }) => [name, String(type) as FamilyType] as const),
      ...JOB_FAMILY_TYPES,
    ]),
    async describe(reading) {
      for (const gauge of Object.values(gauges)) gauge.reset()
      gauges.redisUp.set(reading.pools === undefined ? 0 : 1)
      for (const pool of reading.pools ?? []) tellPool(gauges, pool)
      for (const replica of reading.replicas) tellReplica(gauges, replica)
      const counted = (reading.pools ?? []).flatMap((pool) =>
        pool.readable ? [{ poolId: pool.poolId, fields: pool.counters }] : [],
      )
      return [...parseExposition(await registry.metrics()), ...jobFamilies(counted)]
    },
  }
}

function createGauges(registry: Registry) {
  const gauge = <const Name extends string>(name: string, help: string, labelNames: readonly Name[]) =>
    new Gauge<Name>({ name: `tgi_pool_${name}`, help, labelNames, registers: [registry] })
  return {
    redisUp: gauge('redis_up', 'Whether Redis answered', []),
    readSuccess: gauge('read_success', 'Whether queue and registry of the pool could be read', ['pool_id']),
    jobs: gauge('jobs', 'Jobs in the queue by state; waiting jobs also by priority', [
      'pool_id',
      'state',
      'priority',
    ]),
    jobsKept: gauge(
      'jobs_kept',
      'Jobs in the index by state; finished ones are kept as long as their events',
      ['pool_id', 'state'],
    ),
    oldestWait: gauge(
      'oldest_wait_seconds',
      'Age of the oldest job at the head of a queue; 0 when none waits',
      ['pool_id'],
    ),
    info: gauge('replica_info', 'Engine, build and model of the replica', [
      ...OF_REPLICA,
      'engine',
      'engine_version',
      'model_id',
    ]),
    state: gauge('replica_state', '1 for the state that the replica is in', [...OF_REPLICA, 'state']),
    standbys: gauge('replica_standbys', 'Workers that stand by for the replica', OF_REPLICA),
    slots: gauge('slots', 'Requests that the worker of the replica may hold open now', OF_REPLICA),
    slotsConfigured: gauge(
      'slots_configured',
      'Most requests that the worker is configured to hold open',
      OF_REPLICA,
    ),
    slotsBusy: gauge('slots_busy', 'Attempts under way on the replica', OF_REPLICA),
    scrapeSuccess: gauge(
      'replica_scrape_success',
      "Whether the replica's own metrics could be scraped",
      OF_REPLICA,
    ),
    scrapeSeconds: gauge('replica_scrape_duration_seconds', 'Duration of the scrape', OF_REPLICA),
    scrapeDropped: gauge(
      'replica_scrape_dropped_samples',
      'Samples of the replica that were left out, by reason: type, reserved, duplicate, malformed, limit',
      [...OF_REPLICA, 'reason'],
    ),
  }
}

type Gauges = ReturnType<typeof createGauges>

function tellPool(gauges: Gauges, pool: PoolReading): void {
  const { poolId: pool_id } = pool
  gauges.readSuccess.set({ pool_id }, pool.readable ? 1 : 0)
  if (!pool.readable) return
  const { depth } = pool
  gauges.jobs.set({ pool_id, state: 'waiting', priority: 'interactive' }, depth.interactive)
  gauges.jobs.set({ pool_id, state: 'waiting', priority: 'batch' }, depth.batch)
  gauges.jobs.set({ pool_id, state: 'delayed' }, depth.delayed)
  gauges.jobs.set({ pool_id, state: 'active' }, depth.active)
  for (const [state, count] of pool.indexed) gauges.jobsKept.set({ pool_id, state }, count)
  gauges.oldestWait.set({ pool_id }, pool.oldestWaitSeconds)
}

function tellReplica(gauges: Gauges, { replica, scrape, dropped }: ReplicaReading): void {
  const { entry, standbys } = replica
  const labels = { pool_id: replica.poolId, replica_id: entry.replica_id }
  gauges.info.set({ ...labels, ...versionsOf(entry) }, 1)
  for (const state of STATES) gauges.state.set({ ...labels, state }, state === entry.state ? 1 : 0)
  gauges.standbys.set(labels, standbys)
  // A worker that went away without a word has left its last word behind.
  gauges.slots.set(labels, entry.state === 'lost' ? 0 : entry.slots)
  gauges.slotsConfigured.set(labels, entry.slots_configured)
  gauges.slotsBusy.set(labels, entry.busy)
  gauges.scrapeSuccess.set(labels, scrape.error === undefined ? 1 : 0)
  gauges.scrapeSeconds.set(labels, scrape.seconds)
  for (const reason of DROP_REASONS) gauges.scrapeDropped.set({ ...labels, reason }, dropped[reason])
}

function versionsOf({ versions }: ReplicaFacts['entry']) {
  if (versions === null) return {}
  const { engine, engine_version: version, model_id: model } = versions
  return { engine, engine_version: labelValue(version), model_id: labelValue(model) }
}
