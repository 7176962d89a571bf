/**
 * Does a queue of 100,000 jobs cost whoever comes next anything?
 *
 * Measured, on one pool: how long an enqueue takes, one after another, with nobody waiting and then with 100,000 batch jobs
 * waiting; and how long a worker with one slot takes from the request of one interactive job to that of the next (one token
 * each), again with nobody else and with 100,000 waiting behind them. The queue is filled 64 at a time while no worker runs:
 * at what rate, and what a waiting job takes in Redis (stream and queue entry), is told as well.
 *
 * The baseline is the same thing with an empty queue, in the same run.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { monotonicMs } from './support/clock.ts'
import { inParallel } from './support/in-parallel.ts'
import type { Lab } from './support/lab.ts'
import { newTag, taggedPrompt, withLab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { durations, percentile } from './support/statistics.ts'

/** See the head of this file. */
export const depth: Bench = {
  name: 'depth',
  question: 'Does a queue of 100,000 jobs cost whoever comes next anything?',
  subjects: ['deep', 'empty'],
  run: (settings) =>
    withLab({ tokensPerSecond: 0, prefillMs: 0, maxConcurrentRequests: 128, observed: true }, (lab) =>
      measure(lab, settings),
    ),
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const { waiting, samples } = settings.quick
    ? { waiting: 300, samples: 5 }
    : { waiting: 100_000, samples: 100 }
  await lab.pool.set({ max_queued: 2 * waiting })
  const redis = await lab.connect('commands')
  const used = async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])

  settings.progress('depth: empty')
  const emptyEnqueue = await enqueueTimes(lab, samples)
  const emptyPickUp = await pickUpTimes(lab, samples)

  const before = await used()
  const from = monotonicMs()
  await inParallel(waiting, 64, async (nth) => {
    if (nth % 5000 === 0) settings.progress(`depth: ${nth} of ${waiting} waiting`)
    await lab.pool.enqueue({ inputs: taggedPrompt('deep'), priority: 'batch' })
  })
  const fillMs = monotonicMs() - from
  const bytes = ((await used()) - before) / waiting

  settings.progress('depth: deep')
  const deepEnqueue = await enqueueTimes(lab, samples)
  const deepPickUp = await pickUpTimes(lab, samples)
  return {
    figures: {
      ...durations('deep_enqueue', deepEnqueue),
      ...durations('deep_pick_up', deepPickUp),
      waiting,
      enqueues_per_second: waiting / (fillMs / 1000),
      bytes_in_redis_per_waiting_job: bytes,
    },
    baseline: { ...durations('empty_enqueue', emptyEnqueue), ...durations('empty_pick_up', emptyPickUp) },
    ratios: {
      enqueue_p50_to_empty: percentile(deepEnqueue, 0.5) / percentile(emptyEnqueue, 0.5),
      pick_up_p50_to_empty: percentile(deepPickUp, 0.5) / percentile(emptyPickUp, 0.5),
    },
    bars: [],
  }
}

/** Enqueues one after another while nobody works, and takes them out again. */
async function enqueueTimes(lab: Lab, samples: number): Promise<number[]> {
  const times: number[] = []
  for (let n = 0; n < samples; n += 1) {
    const tag = newTag()
    const from = monotonicMs()
    await lab.enqueue(tag, 1)
    times.push(monotonicMs() - from)
    await lab.pool.cancel(tag)
  }
  return times
}

/** Lets a worker with one slot work off interactive jobs that wait, from request to request. */
async function pickUpTimes(lab: Lab, samples: number): Promise<number[]> {
  const tags = Array.from({ length: samples + 1 }, newTag)
  for (const tag of tags) await lab.enqueue(tag, 1)
  const worker = await lab.startWorker(1)
  const received: number[] = []
  for (const tag of tags) received.push(await lab.simulator.received(tag))
  await worker.stop(0)
  while ((await lab.simulator.openRequests()) > 0) await sleep(5)
  return received.slice(1).map((ms, nth) => ms - (received[nth] ?? ms))
}
