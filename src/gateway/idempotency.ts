import { createHash } from 'node:crypto'
import { PoolError } from '../contract/error.ts'
import { jobIdSchema } from '../contract/ids.ts'
import type { Caller } from './caller.ts'

/**
 * An `Idempotency-Key`: 1 to 255 visible ASCII characters and spaces, or that many in quotes, as a string of
 * draft-ietf-httpapi-idempotency-key-header. Other characters have no single encoding in a header, so gateways could not agree on an id.
 */
export const IDEMPOTENCY_KEY_PATTERN = '^(?:"[ -~]{1,255}"|(?!".*"$)[!-~](?:[ -~]{0,253}[!-~])?)$'

const FITS = new RegExp(IDEMPOTENCY_KEY_PATTERN)

/**
 * The job id for an `Idempotency-Key`: the key itself if it is a valid job id, else a hash of the pool's name and the key. With bearer
 * keys, the hash is an HMAC keyed with the caller's bearer key: no other caller can compute the id, two callers never share one, and all
 * gateways with that bearer key agree on it without a shared secret. The header may be quoted or bare.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` for a key that does not match {@link IDEMPOTENCY_KEY_PATTERN}, or that differs from the
 * `job_id` of the body.
 */
export function jobIdFrom(
  key: string | undefined,
  pool: string,
  jobId: string | undefined,
  caller: Caller | undefined,
): string | undefined {
  if (key === undefined) return jobId
  const bare = /^"(.*)"$/.exec(key)?.[1] ?? key
  if (!FITS.test(key)) {
    const got = bare.length === 0 || bare.length > 255 ? `${bare.length}` : 'others'
    throw new PoolError(
      'INVALID_PARAMS',
      `Idempotency-Key: expected 1 to 255 ASCII characters, none of them a control character, got ${got}`,
    )
  }
  const id = jobIdSchema.safeParse(bare).success ? bare : derivedId(`${pool}\n${bare}`, caller)
  if (jobId === undefined || jobId === id) return id
  throw new PoolError(
    'INVALID_PARAMS',
    'Idempotency-Key and job_id: expected one of the two, or the same id in both, got two ids',
  )
}

function derivedId(text: string, caller: Caller | undefined): string {
  const sign = caller?.sign ?? ((plain: string) => createHash('sha256').update(plain).digest('hex'))
  return `key-${sign(text)}`
}
