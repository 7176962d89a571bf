/** A worker as the real command starts it, but for its times: everything comes as one JSON argument. */
import type { WorkerOptions } from '../../src/worker/worker-options.ts'
import { createLogger } from '../../src/runtime/log.ts'
import { serveWorker } from '../../src/worker/serve.ts'

const { graceMs, ...options } = JSON.parse(process.argv[2] ?? '') as Omit<WorkerOptions, 'logger'> & {
  readonly graceMs: number
}
await serveWorker({ ...options, logger: createLogger('worker', 'info') }, graceMs)
