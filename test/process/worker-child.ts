/**
 * A worker in a process of its own, as the real one but for its times: everything comes as one JSON argument, the
 * logs go to stderr at trace level.
 */
import { createLogger } from '../../src/runtime/log.ts'
import { serveWorker } from '../../src/worker/serve.ts'
import type { ChildOptions } from '../support/children.ts'

const { graceMs, ...options } = JSON.parse(process.argv[2] ?? '') as ChildOptions
await serveWorker({ ...options, logger: createLogger('worker', 'trace') }, graceMs)
