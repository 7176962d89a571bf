import { lastId } from '../stream/event-log.ts'
import type { EventLog } from '../stream/event-log.ts'
import { errorSeal } from '../stream/seal.ts'
import { viewLog } from './log-view.ts'

/** A job that BullMQ gave up. */
export interface GiveUpRequest {
  readonly log: Pick<EventLog, 'read' | 'write'>
  readonly jobId: string
  readonly pool: string
  readonly retentionMs: number
}

/** Ends a job whose workers died so often that BullMQ gives it to nobody any more: no processor ever sees it again. */
export async function sealGivenUp(request: GiveUpRequest): Promise<void> {
  const { log, jobId, pool, retentionMs } = request
  for (;;) {
    const { entries, nowMs } = await log.read(jobId)
    const view = viewLog(entries)
    if (view.sealed) return
    const seal = errorSeal(view.tokens > 0 ? 'WORKER_RESET' : 'REPLICA_EXHAUSTED', {
      message: 'its workers died too often',
      pool_id: pool,
      tokens_out: view.tokens,
    })
    const expect = lastId(entries)
    const { written } = await log.write({ jobId, expect, entries: [seal], deadlineAt: nowMs, retentionMs })
    if (written) return
  }
}
