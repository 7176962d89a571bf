import { PoolError } from '../contract/error.ts'
import { describeRefusal, isConnectionError } from '../redis/fault.ts'
import { within } from '../runtime/within.ts'
import type { CheckName, Finding } from './finding.ts'
import { judgeOf } from './finding.ts'

/** How long one look at Redis may take (ms). */
const LOOK_MS = 5000

/** Redis no longer answers: nothing else can be looked at. */
export class LineLost extends Error {
  override readonly name = 'LineLost'
}

/** What came of a look: the facts, or why there are none. */
export type Look<T> =
  | { readonly ok: true; readonly facts: T }
  | { readonly ok: false; readonly finding: Finding }

/**
 * Looks at something in Redis, for five seconds at most.
 *
 * @throws {@link LineLost} when it is Redis that does not answer. Whatever else keeps us from looking is a finding:
 * a warning when this user may not, else a fault.
 */
export async function lookAt<T>(check: CheckName, subject: string, work: Promise<T>): Promise<Look<T>> {
  if (!(await within(work, LOOK_MS))) throw new LineLost(`no answer within ${LOOK_MS} ms`)
  try {
    return { ok: true, facts: await work }
  } catch (error) {
    return { ok: false, finding: blindness(check, subject, error) }
  }
}

function blindness(check: CheckName, subject: string, error: unknown): Finding {
  const message = error instanceof Error ? error.message : String(error)
  if (isConnectionError(error)) throw new LineLost(message, { cause: error })
  const judge = judgeOf(subject)
  if (isPermission(error)) {
    return judge.warning(
      check,
      `cannot check: ${refusal(message)}`,
      'run doctor as a user who may read all keys',
    )
  }
  const said = describeRefusal(error)
  if (said !== undefined) return judge.fault(check, `Redis ${said}`)
  const known = error instanceof PoolError
  return judge.fault(check, known ? message : `cannot be read: ${message}`)
}

/** Whether Redis said that this user may not. */
export function isPermission(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOPERM')
}

/** Redis 7 says `NOPERM this user has no permissions to run the 'info' command`, Valkey and Redis 7.2 a little more. */
function refusal(message: string): string {
  return message.replace(/^NOPERM /, '').replace(/^this user /i, 'this Redis user ')
}
