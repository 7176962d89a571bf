import type { IncomingMessage } from 'node:http'
import { PoolError } from '../contract/error.ts'
import type { BearerKey, BearerKeys } from './bearer-keys.ts'

/** The `WWW-Authenticate` header that goes with `UNAUTHORIZED`. */
export const CHALLENGE = 'Bearer realm="tgi-pool"'

/**
 * Finds the bearer key of a request.
 *
 * @throws {@link PoolError} `UNAUTHORIZED`.
 */
export function requireKey({ headers: { authorization } }: IncomingMessage, keys: BearerKeys): BearerKey {
  const key = keys.find(authorization)
  if (key !== undefined) return key
  const got = authorization === undefined ? 'nothing' : 'another'
  throw new PoolError('UNAUTHORIZED', `Authorization: expected Bearer and a key of this server, got ${got}`)
}
