import type { PoolClient } from '../client/pool-client.ts'
import type { Pools } from '../client/pools.ts'
import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { jobIdSchema, poolIdSchema } from '../contract/ids.ts'
import { unknownPoolError } from '../pool/config-store.ts'

/** Finds the pool of a request. */
export interface PoolFinder {
  /** @throws {@link PoolError} `INVALID_PARAMS` for an invalid name, `POOL_UNAVAILABLE` for an unknown pool. */
  byName(pool: string, signal: AbortSignal): Promise<PoolClient>
  /** By name if one is given, else the only pool. @throws also `INVALID_PARAMS` unless there is exactly one. */
  byNameOrOnly(pool: string | undefined, signal: AbortSignal): Promise<PoolClient>
  /** By name if one is given, else the pool that has the job. @throws also `UNKNOWN_JOB`, `ID_CONFLICT`. */
  ofJob(jobId: string, pool: string | undefined, signal: AbortSignal): Promise<PoolClient>
}

/** Clients are kept as long as the process, so one is created only for a pool that exists. */
export function createPoolFinder(pools: Pools): PoolFinder {
  const known = new Set<string>()

  async function byName(pool: string, signal: AbortSignal): Promise<PoolClient> {
    parseOrThrow(poolIdSchema, pool, 'pool')
    if (!known.has(pool)) {
      const there = (await pools.list({ signal })).map(({ pool_id: id }) => id)
      if (!there.includes(pool)) throw unknownPoolError(pool, there)
      for (const id of there) known.add(id)
    }
    return pools.pool(pool)
  }

  async function only(signal: AbortSignal): Promise<PoolClient> {
    const there = (await pools.list({ signal })).map(({ pool_id: id }) => id)
    const [pool, ...others] = there
    if (pool !== undefined && others.length === 0) return pools.pool(pool)
    const names = there.length === 0 ? 'there are none yet' : `there are: ${there.slice(0, 10).join(', ')}`
    throw new PoolError(
      'INVALID_PARAMS',
      `pool: expected a name, because there is not exactly one pool (${names})`,
    )
  }

  return {
    byName,
    byNameOrOnly: (pool, signal) => (pool === undefined ? only(signal) : byName(pool, signal)),
    async ofJob(jobId, pool, signal) {
      parseOrThrow(jobIdSchema, jobId, 'job id')
      return pool === undefined ? pools.locate(jobId, { signal }) : byName(pool, signal)
    },
  }
}
