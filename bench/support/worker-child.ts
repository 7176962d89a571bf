/** A worker in a process of its own, to weigh it. What it is to serve comes as JSON in the first argument. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createLogger } from '../../src/runtime/log.ts'
import { startWorker } from '../../src/worker/worker.ts'
import { countCommands, serveParent } from './weighed-child.ts'
import type { WorkerSettings } from './worker-process.ts'

const { counted = false, ...settings } = JSON.parse(process.argv[2] ?? '{}') as WorkerSettings
if (counted) countCommands()
const worker = await startWorker({ ...settings, logger: createLogger('bench', 'error') })
while (worker.state !== 'ready') await sleep(2)
serveParent({ busy: () => worker.busy, stop: () => worker.stop(0) })
