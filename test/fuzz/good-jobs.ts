import { setTimeout as sleep } from 'node:timers/promises'
import { PoolError } from '../../src/contract/error.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { MARK } from './shot.ts'

/** Good jobs, one after the other, beside all that is sent. */
export interface GoodJobs {
  readonly count: number
  /** What went wrong with them since the last call. */
  takeFaults(): string[]
  /** Stops; a job that is under way is not waited for. */
  stop(): void
}

const TOKENS = 200
const DEADLINE_MS = 40_000
/** Far beyond its deadline. */
const LATE_MS = 90_000
const PAUSE_MS = 100

/** Starts them. Each must end with its whole answer. */
export function startGoodJobs(client: PoolClient): GoodJobs {
  const stopping = new AbortController()
  const faults: string[] = []
  let count = 0
  const run = async () => {
    while (!stopping.signal.aborted) {
      const fault = await runGoodJob(client, stopping.signal).catch((error: unknown) => String(error))
      if (stopping.signal.aborted) return
      if (fault === undefined) count += 1
      else faults.push(fault)
      await sleep(PAUSE_MS)
    }
  }
  void run()
  return {
    get count() {
      return count
    },
    takeFaults: () => faults.splice(0),
    stop: () => stopping.abort(),
  }
}

async function runGoodJob(client: PoolClient, stopping: AbortSignal): Promise<string | undefined> {
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(LATE_MS)])
  const jobId = await enqueue(client, signal)
  if (jobId === undefined) return undefined
  for await (const event of client.events(jobId, { signal })) {
    if (event.event === 'error') return `a good job ended in ${event.data.code}: ${event.data.message}`
    if (event.event === 'end' && event.data.tokens_out === TOKENS) return undefined
    if (event.event === 'end') return `a good job ended with ${event.data.tokens_out} of ${TOKENS} tokens`
  }
  return 'the events of a good job ended without a terminal one'
}

/** Undefined where the queue is so full that it refuses, which is no fault. */
async function enqueue(client: PoolClient, signal: AbortSignal): Promise<string | undefined> {
  const body = {
    inputs: `Good words of ${MARK}`,
    parameters: { max_new_tokens: TOKENS },
    deadline_ms: DEADLINE_MS,
  }
  try {
    return (await client.enqueue(body, { signal })).job_id
  } catch (error) {
    if (error instanceof PoolError && (error.kind === 'ADMISSION_REJECT' || error.kind === 'DEADLINE_UNMET'))
      return undefined
    throw error
  }
}
