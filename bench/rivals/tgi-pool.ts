/** `tgi_pool`: enqueue, a worker process, the job's stream, `events` of the library in the reader's process. */
import type { PoolClient } from '../../src/client/pool-client.ts'
import { PoolError } from '../../src/contract/error.ts'
import type { Lab } from '../support/lab.ts'
import { taggedPrompt } from '../support/lab.ts'
import { startWorkerProcess } from '../support/worker-process.ts'
import type { OnToken, Reading, Rival, RivalSettings } from './rival.ts'

/** Starts a worker for the lab's pool. */
export async function startTgiPool(lab: Lab, settings: RivalSettings): Promise<Rival> {
  const server = await startWorkerProcess({ ...settings, pool: lab.pool.pool })
  return {
    name: 'tgi_pool',
    server,
    helpers: [],
    ask: (tag, tokens, onToken) => ask(lab.pool, tag, tokens, onToken),
    readAll: (tag, onToken) => read(lab.pool, tag, onToken, undefined),
    leftovers: lab.keys.events('*'),
    stop: () => server.stop(),
  }
}

function ask(pool: PoolClient, tag: string, tokens: number, onToken: OnToken): Reading {
  const job = { inputs: taggedPrompt(tag), parameters: { max_new_tokens: tokens } }
  return read(pool, tag, onToken, undefined, () => pool.enqueue(job, { jobId: tag }))
}

function read(
  pool: PoolClient,
  jobId: string,
  onToken: OnToken,
  after: string | undefined,
  before?: () => Promise<unknown>,
): Reading {
  const stop = new AbortController()
  let cursor = after
  const follow = async () => {
    await before?.()
    for await (const event of pool.events(jobId, { after, signal: stop.signal })) {
      if (stop.signal.aborted) return
      cursor = event.id
      if (event.event === 'token') onToken(event.data.t)
      if (event.event === 'error') throw new PoolError(event.data.code, event.data.message)
    }
  }
  return {
    ended: follow().catch((error: unknown) => {
      if (!stop.signal.aborted) throw error
    }),
    leave: () => stop.abort(),
    comeBack: (told) => read(pool, jobId, told, cursor),
  }
}
