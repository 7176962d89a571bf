/**
 * A worker in a process of its own, as the real one but for its times: everything comes as one JSON argument, the
 * logs go to stderr at trace level. SIGUSR2 blocks its event loop for a while, as a computation would that never ends.
 */
import { createLogger } from '../../src/runtime/log.ts'
import { serveWorker } from '../../src/worker/serve.ts'
import { BLOCK_MS } from '../support/children.ts'
import type { ChildOptions } from '../support/children.ts'

process.on('SIGUSR2', () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCK_MS)
})

const { graceMs, ...options } = JSON.parse(process.argv[2] ?? '') as ChildOptions
await serveWorker({ ...options, logger: createLogger('worker', 'trace') }, graceMs)
