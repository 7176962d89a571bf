import type { RedisConnection } from '../redis/connect.ts'
import { invalidNamesError } from '../pool/config-store.ts'
import { isUnreadable } from '../replica/registry.ts'
import { within } from '../runtime/within.ts'
import type { Logger } from '../runtime/log.ts'
import { createKeyFor } from '../tgi/key-addresses.ts'
import type { KeyFor } from '../tgi/key-addresses.ts'
import { labelValue } from './family.ts'
import type { Family, Label } from './family.ts'
import { createOwnFamilies } from './own-families.ts'
import { readPools } from './pool-facts.ts'
import type { PoolReading, ReplicaFacts } from './pool-facts.ts'
import { mergeFamilies } from './relabel.ts'
import { renderExposition } from './render.ts'
import { scrapeReplica } from './scrape.ts'
import type { Scrape } from './scrape.ts'

/** How long Redis may take (ms); with the replicas' time it stays well below the ten seconds Prometheus waits. */
const REDIS_TIMEOUT_MS = 2000

/** What an answer is made from. */
export interface CollectorOptions {
  readonly redis: RedisConnection
  readonly prefix: string
  readonly apiKey?: string | undefined
  /** Addresses that may have it. @defaultValue none */
  readonly apiKeyFor?: readonly string[] | undefined
  /** What each replica may take (ms). */
  readonly replicaTimeoutMs: number
  /** An answer that is younger is given again (ms). */
  readonly cacheMs: number
  readonly logger: Logger
  /** Breaks off what is under way. */
  readonly signal: AbortSignal
}

/** Makes `/metrics`. */
export interface Collector {
  /** The whole exposition; who asks while one is being made gets the same. */
  collect(): Promise<string>
}

/**
 * Makes a collector.
 *
 * @throws {@link PoolError} `CONFIG` for an address in `apiKeyFor` that is none.
 */
export function createCollector(options: CollectorOptions): Collector {
  const { apiKey, apiKeyFor = [], logger } = options
  const own = createOwnFamilies()
  const keyFor = createKeyFor(apiKey, apiKeyFor)
  const logChange = createChangeLog(logger)
  if (apiKey !== undefined && apiKeyFor.length === 0)
    logger.warn('API key is never sent: TGI_API_KEY_FOR names no replica')
  let last: { readonly text: Promise<string>; madeAt: number } | undefined

  async function make(): Promise<string> {
    const pools = await readInTime(options, logChange)
    const found = (pools ?? []).flatMap((pool) => (pool.readable ? pool.replicas : []))
    const scrapes = await Promise.all(found.map((replica) => scrape(options, keyFor, replica)))
    const merged = mergeFamilies(
      found.map((replica, index) => ({
        families: scrapes[index]?.families ?? [],
        labels: labelsOf(replica),
        malformed: scrapes[index]?.malformed,
        shed: scrapes[index]?.shed,
      })),
      own.types,
    )
    const replicas = found.flatMap((replica, index) => {
      const [got, dropped] = [scrapes[index], merged.dropped[index]]
      return got === undefined || dropped === undefined ? [] : [{ replica, scrape: got, dropped }]
    })
    for (const { replica, scrape: got } of replicas) {
      const name = `replica ${replica.poolId}/${replica.entry.replica_id}`
      logChange(name, got.error)
      logChange(`${name}, bad lines`, got.fault)
      logChange(`${name}, series`, got.surplus)
    }
    return renderExposition(joined(await own.describe({ pools, replicas }), merged.families))
  }

  return {
    collect() {
      if (last !== undefined && performance.now() - last.madeAt < options.cacheMs) return last.text
      // While it is being made it is young.
      const made = { text: make(), madeAt: Number.POSITIVE_INFINITY }
      last = made
      made.text.then(
        () => (made.madeAt = performance.now()),
        () => (last = undefined),
      )
      return made.text
    },
  }
}

/** Logs when a source fails and when it recovers; nothing in between. */
type ChangeLog = (source: string, error: unknown) => void

function createChangeLog(logger: Logger): ChangeLog {
  const failing = new Set<string>()
  return (source, error) => {
    if (error === undefined) {
      if (failing.delete(source)) logger.info({ source }, 'scrape recovered')
      return
    }
    if (failing.has(source)) return
    // Names of replicas come and go; after this, one may be logged twice.
    if (failing.size > 1000) failing.clear()
    failing.add(source)
    logger.warn({ source, err: error }, 'scrape failed')
  }
}

async function readInTime(
  { redis, prefix }: CollectorOptions,
  logChange: ChangeLog,
): Promise<readonly PoolReading[] | undefined> {
  const reading = readPools(redis, prefix, (invalid) =>
    logChange('list of pools', invalid.length === 0 ? undefined : invalidNamesError(invalid)),
  )
  try {
    if (!(await within(reading, REDIS_TIMEOUT_MS)))
      throw new Error(`Redis does not answer within ${REDIS_TIMEOUT_MS} ms`)
    const pools = await reading
    logChange('pools', undefined)
    for (const pool of pools) logChange(`pool ${pool.poolId}`, pool.readable ? undefined : pool.error)
    return pools
  } catch (error) {
    logChange('pools', error)
    return undefined
  }
}

async function scrape(options: CollectorOptions, keyFor: KeyFor, { entry }: ReplicaFacts): Promise<Scrape> {
  if (isUnreadable(entry))
    return { families: [], malformed: 0, shed: 0, seconds: 0, error: new Error(entry.reason) }
  return scrapeReplica({
    url: entry.url,
    apiKey: keyFor(entry.url),
    timeoutMs: options.replicaTimeoutMs,
    signal: options.signal,
  })
}

/** The labels that distinguish a replica's samples; leaves out what its worker does not know yet. */
function labelsOf({ poolId, entry }: ReplicaFacts): Label[] {
  const { engine, engine_version: version, model_id: model } = entry.versions ?? {}
  const all: readonly (readonly [string, string | undefined])[] = [
    ['engine', engine],
    ['engine_version', version],
    ['pool_id', poolId],
    ['replica_id', entry.replica_id],
    ['model_id', model],
  ]
  return all.flatMap(([name, value]) => (value === undefined ? [] : [[name, labelValue(value)] as const]))
}

/** Ours first; a replica's samples of a family that we have, too, stand with ours. */
function joined(own: readonly Family[], merged: readonly Family[]): Family[] {
  const byName = new Map(merged.map((family) => [family.name, family]))
  const names = new Set(own.map(({ name }) => name))
  return [
    ...own.map((family) => ({
      ...family,
      samples: [...family.samples, ...(byName.get(family.name)?.samples ?? [])],
    })),
    ...merged.filter(({ name }) => !names.has(name)),
  ]
}
