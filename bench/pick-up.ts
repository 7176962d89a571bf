/**
 * How soon after `enqueue()` is the request at the replica, when a slot is idle?
 *
 * Measured: from the call of `enqueue()` to the arrival of the request's headers at the simulator, which is a process
 * of its own; both read the machine's monotonic clock. Jobs go one after another; each waits until the one before it
 * is over and the worker has been idle for a few random milliseconds, so that its BullMQ waits in Redis as it would.
 *
 * In the same run, alternating with it in blocks: BullMQ alone, from the call of `queue.add()` to the processor, with
 * the same options, server and idle time.
 *
 * Against noise: the first block of each kind is thrown away.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue, Worker } from 'bullmq'
import { monotonicMs } from './support/clock.ts'
import type { Lab } from './support/lab.ts'
import { newTag, withLab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { durations, percentile } from './support/statistics.ts'

/** See the head of this file. */
export const pickUp: Bench = {
  name: 'pick-up',
  question: 'How soon after enqueue() is the request at the replica, when a slot is idle?',
  subjects: ['worker', 'bullmq_alone'],
  run: (settings) =>
    withLab({ tokensPerSecond: 0, prefillMs: 0, maxConcurrentRequests: 128, observed: true }, (lab) =>
      measure(lab, settings),
    ),
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const { blocks, jobs } = settings.quick ? { blocks: 1, jobs: 5 } : { blocks: 6, jobs: 50 }
  const worker = await lab.startWorker(8)
  const bullmq = await startBullmq(lab)
  const ours: number[] = []
  const theirs: number[] = []
  try {
    for (let block = settings.quick ? 1 : 0; block <= blocks; block += 1) {
      settings.progress(`pick-up: block ${block} of ${blocks}`)
      for (let job = 0; job < jobs; job += 1) {
        const ms = await bullmq.pickUp()
        if (block > 0) theirs.push(ms)
      }
      for (let job = 0; job < jobs; job += 1) {
        const ms = await pickUpOnce(lab, () => worker.busy === 0)
        if (block > 0) ours.push(ms)
      }
    }
  } finally {
    await bullmq.stop()
  }
  await worker.stop(0)
  const [p50, p99] = [percentile(ours, 0.5), percentile(ours, 0.99)]
  return {
    figures: { ...durations('worker', ours), worker_jobs: ours.length },
    baseline: { ...durations('bullmq_alone', theirs), bullmq_alone_jobs: theirs.length },
    ratios: {
      p50_to_bullmq_alone: p50 / percentile(theirs, 0.5),
      p99_to_bullmq_alone: p99 / percentile(theirs, 0.99),
    },
    bars: [
      { what: 'enqueue() to request at the replica, p50 (ms)', limit: { atMost: 2.5 }, got: p50 },
      { what: 'enqueue() to request at the replica, p99 (ms)', limit: { atMost: 8 }, got: p99 },
    ],
  }
}

async function pickUpOnce(lab: Lab, isIdle: () => boolean): Promise<number> {
  const tag = newTag()
  const startMs = monotonicMs()
  await lab.enqueue(tag, 1)
  const receivedMs = await lab.simulator.received(tag)
  await lab.sealed(tag)
  while (!isIdle()) await sleep(1)
  await idleTime()
  return receivedMs - startMs
}

/** Long enough for BullMQ to block in Redis again, and never in step with anything. */
async function idleTime(): Promise<void> {
  await sleep(8 + Math.random() * 8)
}

async function startBullmq(lab: Lab) {
  const prefix = 'bench-bullmq'
  const arrivals = new Map<string, (atMs: number) => void>()
  const queue = new Queue('jobs', { connection: await lab.connect('queue'), prefix })
  const worker = new Worker(
    'jobs',
    async (job) => {
      await Promise.resolve()
      arrivals.get(job.id ?? '')?.(monotonicMs())
    },
    { connection: await lab.connect('queue'), prefix, concurrency: 8, drainDelay: 5 },
  )
  queue.on('error', () => undefined)
  worker.on('error', () => undefined)
  await worker.waitUntilReady()
  return {
    async pickUp(): Promise<number> {
      const jobId = newTag()
      const { promise, resolve } = Promise.withResolvers<number>()
      arrivals.set(jobId, resolve)
      const startMs = monotonicMs()
      const body = { inputs: 'Tell me a short story about a river and an old lantern. The river' }
      await queue.add('generate', body, { jobId, priority: 10, removeOnComplete: true, removeOnFail: true })
      const arrivedMs = await promise
      arrivals.delete(jobId)
      await idleTime()
      return arrivedMs - startMs
    },
    async stop(): Promise<void> {
      await worker.close()
      await queue.close()
    },
  }
}
