import type { IncomingMessage } from 'node:http'
import { PoolError } from '../contract/error.ts'
import type { BearerKey, BearerKeys } from './bearer-keys.ts'
import type { Scope } from './key-lines.ts'

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
  throw new PoolError(
    'UNAUTHORIZED',
    `Authorization: expected Bearer and a key from the key file, got ${got}`,
  )
}

/**
 * Requires a scope of the caller.
 *
 * @throws {@link PoolError} `INSUFFICIENT_SCOPE`.
 */
export function requireScope(caller: Pick<BearerKey, 'may'> | undefined, scope: Scope): void {
  if (caller?.may(scope) === true) return
  throw new PoolError(
    'INSUFFICIENT_SCOPE',
    `this request needs the scope ${scope}, which its bearer key lacks. Put a name and the scope before the key in the key file: name+${scope} key`,
  )
}
