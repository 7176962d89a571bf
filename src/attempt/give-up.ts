import { lastId } from '../stream/event-log.ts'
import type { EventLog } from '../stream/event-log.ts'
import { errorSeal } from '../stream/seal.ts'
import { describeEnd } from './job-end.ts'
import type { JobEndListener } from './job-end.ts'
import { viewLog } from './log-view.ts'
import { decideGivenUp } from './policy.ts'

/** A job whose workers died too often. */
export interface GiveUpRequest {
  readonly log: Pick<EventLog, 'read' | 'write'>
  readonly jobId: string
  readonly pool: string
  readonly retentionMs: number
  /** How many workers died while they had it. */
  readonly deaths: number
  /** This call ended the job. */
  readonly onJobEnd: JobEndListener
}

/** Ends a job without reading its body, which may be what its workers died of. */
export async function sealGivenUp(request: GiveUpRequest): Promise<void> {
  const { log, jobId, pool, retentionMs } = request
  for (;;) {
    const { entries, nowMs } = await log.read(jobId)
    const view = viewLog(entries)
    if (view.sealed) return
    const { code, message } = decideGivenUp({ tokens: view.tokens, spent: request.deaths })
    const seal = errorSeal(code, {
      message,
      pool_id: pool,
      tokens_out: view.tokens,
    })
    const expect = lastId(entries)
    const { written } = await log.write({ jobId, expect, entries: [seal], deadlineAt: nowMs, retentionMs })
    if (!written) continue
    request.onJobEnd(describeEnd(jobId, pool, [...entries, seal], nowMs))
    return
  }
}
