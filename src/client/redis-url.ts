import { PoolError } from '../contract/error.ts'
import { DEFAULT_REDIS_URL } from '../redis/address.ts'

/** A Redis URL and its origin. */
interface RedisAddress {
  readonly url: string
  /** For error messages; absent if the caller passed the URL. */
  readonly origin?: string | undefined
}

/**
 * Where Redis is: the URL that the caller passed, else `REDIS_URL` in the environment unless it is empty, else
 * `redis://127.0.0.1:6379`.
 */
export function findRedis(given: string | undefined): RedisAddress {
  if (given !== undefined) return { url: given }
  const url = process.env['REDIS_URL']
  if (url) return { url, origin: 'this address is from REDIS_URL' }
  return {
    url: DEFAULT_REDIS_URL,
    origin: 'this is the default address, since neither redisUrl nor REDIS_URL is set',
  }
}

/**
 * Connects to the result of {@link findRedis}. If that fails, the error says where the URL comes from, unless the caller
 * passed it.
 */
export async function connectTo<T>(
  { url, origin }: RedisAddress,
  connect: (url: string) => Promise<T>,
): Promise<T> {
  try {
    return await connect(url)
  } catch (error) {
    if (origin === undefined || !(error instanceof PoolError)) throw error
    throw new PoolError(error.kind, `${error.message}; ${origin}`, { cause: error.cause })
  }
}
