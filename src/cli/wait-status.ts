import { setTimeout as sleep } from 'node:timers/promises'
import type { Admission } from '../client/enqueue.ts'
import type { PoolClient } from '../client/pool-client.ts'
import type { ReplicaEntry } from '../contract/replica-entry.ts'
import { formatDuration } from './format-duration.ts'
import { errLine } from './print.ts'
import { startStatusLine } from './progress.ts'

/** How long a job waits before anything is printed (ms). Longer for a pipe, where the line cannot be erased again. */
const QUIET_MS = { terminal: 500, pipe: 2000 } as const
/** How often the line on a terminal is updated (ms). */
const RENEW_MS = 1000

/**
 * Shows on stderr what a job is waiting for until its first token: on a terminal a line that is updated and finally erased, elsewhere
 * one line after two seconds. A failed look-up ends only the display.
 */
export function showWait(pool: PoolClient, admission: Admission): { stop(): void } {
  const stopped = new AbortController()
  const { signal } = stopped
  const since = performance.now()
  const describe = async () => describeWait(await inspect(pool, admission, signal), performance.now() - since)

  async function printOnce(): Promise<void> {
    await sleep(QUIET_MS.pipe, undefined, { signal })
    const text = await describe()
    if (!signal.aborted) errLine(`tgi-pool: job ${admission.job_id} is waiting: ${text}`)
  }

  async function rewrite(): Promise<void> {
    await sleep(QUIET_MS.terminal, undefined, { signal })
    let text = await describe()
    if (signal.aborted) return
    const line = startStatusLine(text)
    signal.addEventListener('abort', () => line.stop(), { once: true })
    for (;;) {
      await sleep(RENEW_MS, undefined, { signal })
      text = await describe()
      if (!signal.aborted) line.show(text)
    }
  }

  void (process.stderr.isTTY ? rewrite() : printOnce()).catch(() => undefined)
  return { stop: () => stopped.abort() }
}

/** What is known about a job that has no token yet. */
export interface WaitFacts {
  readonly pool: string
  /** The replica that runs it; undefined while it is in the queue. */
  readonly runsOn: string | undefined
  /** How many jobs are ahead of it, at most. */
  readonly ahead: number
  /** When it is expected to start, from its acceptance on (ms). */
  readonly predictedStartMs: number | undefined
  readonly replicas: readonly Pick<ReplicaEntry, 'replica_id' | 'state' | 'reason' | 'busy' | 'slots'>[]
}

async function inspect(pool: PoolClient, admission: Admission, signal: AbortSignal): Promise<WaitFacts> {
  const [state, replicas, waiting] = await Promise.all([
    pool.job(admission.job_id, { signal }),
    pool.replicas({ signal }),
    pool.waiting({ signal }),
  ])
  return {
    pool: pool.pool,
    runsOn: state.state === 'started' ? (state.replica_id ?? 'a replica') : undefined,
    // The count of waiting jobs includes those behind it, so the position at acceptance is an upper bound as well.
    ahead: Math.max(0, Math.min(admission.queue_position, waiting.interactive + waiting.batch - 1)),
    predictedStartMs: admission.predicted_start_ms,
    replicas,
  }
}

/** Describes what a job is waiting for. */
export function describeWait(facts: WaitFacts, waitedMs: number): string {
  const { pool, runsOn, replicas, ahead, predictedStartMs } = facts
  if (runsOn !== undefined) return `running on ${runsOn}, no token yet`
  if (replicas.length === 0) return `pool ${pool} has no replicas; start a worker`
  const ready = replicas.filter(({ state }) => state === 'ready')
  if (ready.length === 0) {
    const seen = replicas.map(
      ({ replica_id: id, state, reason }) => `${id} is ${state}${reason === undefined ? '' : ` (${reason})`}`,
    )
    return `no replica of pool ${pool} is ready: ${seen.join('; ')}`
  }
  const full = ready.filter(({ busy, slots }) => slots > 0 && busy >= slots)
  const place = ahead === 0 ? 'next in the queue' : `at most ${ahead} ${ahead === 1 ? 'job' : 'jobs'} ahead`
  const left = predictedStartMs === undefined ? 0 : predictedStartMs - waitedMs
  const forecast = left > 0 ? `, start expected in ${formatDuration(left)}` : ''
  return `${full.length} of ${ready.length} ready replicas are busy with other jobs; ${place}${forecast}`
}
