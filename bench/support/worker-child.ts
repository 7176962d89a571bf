/**
 * A worker in a process of its own, to weigh it. What it is to serve comes as JSON in the first argument. Answers
 * each message of its parent with its weight; ends when the parent lets go of it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createLogger } from '../../src/runtime/log.ts'
import { startWorker } from '../../src/worker/worker.ts'
import type { WeighMessage, WorkerMessage, WorkerSettings } from './worker-process.ts'

const settings = JSON.parse(process.argv[2] ?? '{}') as WorkerSettings

function tell(message: WorkerMessage): void {
  if (process.connected) process.send?.(message, () => undefined)
}

const worker = await startWorker({ ...settings, logger: createLogger('bench', 'error') })
process.on('message', (message) => {
  // From our own parent, whose type is the message's.
  if ((message as WeighMessage).collect) globalThis.gc?.()
  const { rss, heapUsed } = process.memoryUsage()
  tell({ kind: 'weight', rssBytes: rss, heapBytes: heapUsed, busy: worker.busy })
})
process.once('disconnect', () => void worker.stop(0))
while (worker.state !== 'ready') await sleep(2)
tell({ kind: 'ready' })
