import { createHash } from 'node:crypto'
import { PoolError } from '../contract/error.ts'
import { jobIdSchema } from '../contract/ids.ts'
import type { Caller } from './caller.ts'

/**
 * An `Idempotency-Key`: 1 to 255 visible ASCII characters and spaces, or that many in quotes, as a string of
 * draft-ietf-httpapi-idempotency-key-header. Other characters have no one encoding in a header, so gateways could not agree on an id.
 */
export const IDEMPOTENCY_KEY_PATTERN = '^(?:"[ -~]{1,255}"|(?!".*"$)[!-~](?:[ -~]{0,253}[!-~])?)$'

const FITS = new RegExp(IDEMPOTENCY_KEY_PATTERN)

/**
 * The job id that an `Idempotency-Key` stands for: the key itself where it fits the rules of job ids, else a hash of the pool's name
 * and the key. With bearer keys the hash is an HMAC that only the caller's own bearer key gives: no other caller can compute the id, two
 * callers never share one, and all gateways with the bearer key agree on it, without a secret of their own. The header may be
 * quoted or bare.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` for a key that does not fit {@link IDEMPOTENCY_KEY_PATTERN}, and for one that is not the
 * `job_id` given.
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
