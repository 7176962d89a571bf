/**
 * What do prompts that always fail cost the jobs behind them?
 *
 * Five bad jobs are enqueued, then twenty good ones of 50 tokens at 50 tokens a second, on pools of one, two and four replicas
 * with four slots each. Measured through the library: the time from the first enqueue to the end of the last good job, and for
 * each bad job the time from the `started` of its last attempt to its `error`. Bad jobs fail by an error in the stream, by HTTP
 * 502, by an answer without its last event, or by an error that fails every request on the replica.
 *
 * The baseline is the same run with five good jobs in place of the bad ones.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { openPool } from '../src/client/pools.ts'
import type { PoolClient } from '../src/client/pool-client.ts'
import { startRedisServer } from '../src/redis/server.ts'
import { createLogger } from '../src/runtime/log.ts'
import type { Fault } from '../src/simulator/faults.ts'
import { startSimulator } from '../src/simulator/server.ts'
import { startWorker } from '../src/worker/worker.ts'
import { monotonicMs } from './support/clock.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'

const BAD = 5
const SLOTS = 4
const TOKENS_PER_SECOND = 50

const POISONS = {
  stream: { kind: 'generation-error' },
  http_502: { kind: 'http-502' },
  no_end: { kind: 'no-final-event' },
  batch: { kind: 'generation-error', batch: true },
} as const satisfies Record<string, Fault>

interface Size {
  readonly replicas: readonly number[]
  readonly good: number
  readonly tokens: number
}

const FULL: Size = { replicas: [1, 2, 4], good: 20, tokens: 50 }
const QUICK: Size = { replicas: [1], good: 4, tokens: 5 }

/** See the head of this file. */
export const poison: Bench = {
  name: 'poison',
  question: 'What do prompts that always fail cost the jobs behind them?',
  subjects: Object.keys(POISONS),
  run: measure,
}

async function measure({ quick, progress }: BenchSettings): Promise<BenchReading> {
  const size = quick ? QUICK : FULL
  const figures: Record<string, number> = {}
  const baseline: Record<string, number> = {}
  const ratios: Record<string, number> = {}
  const bars: BenchReading['bars'][number][] = []
  let slowestSealMs = 0
  let lost = 0
  for (const replicas of size.replicas) {
    for (const [name, fault] of Object.entries(POISONS)) {
      const key = `${name}_${replicas}_replicas`
      progress(`poison: ${name} on ${replicas}`)
      const clean = await runOnce(size, replicas, undefined)
      const poisoned = await runOnce(size, replicas, { ...fault, match: 'POISON' })
      figures[`${key}_ms`] = poisoned.goodMs
      baseline[`${key}_ms`] = clean.goodMs
      ratios[`${key}_speed`] = clean.goodMs / poisoned.goodMs
      slowestSealMs = Math.max(slowestSealMs, ...poisoned.sealMs)
      lost += poisoned.lost + clean.lost
      bars.push({
        what: `speed of the good jobs, ${name} on ${replicas}, against the baseline`,
        limit: { atLeast: 0.8 },
        got: clean.goodMs / poisoned.goodMs,
      })
    }
  }
  figures['slowest_seal_ms'] = slowestSealMs
  bars.push({ what: 'last attempt begun to error (ms)', limit: { atMost: 1000 }, got: slowestSealMs })
  bars.push({ what: 'good jobs without an answer', limit: { atMost: 0 }, got: lost })
  return { figures, baseline, ratios, bars }
}

interface Outcome {
  readonly goodMs: number
  readonly lost: number
  readonly sealMs: readonly number[]
}

async function runOnce(size: Size, replicas: number, fault: Fault | undefined): Promise<Outcome> {
  const undo: (() => Promise<void>)[] = []
  try {
    const redis = await startRedisServer()
    undo.push(() => redis.stop())
    const client = await openPool({ redisUrl: redis.url, pool: 'bench' })
    undo.push(() => client.close())
    await client.create()
    for (let n = 0; n < replicas; n += 1) {
      const simulator = await startSimulator({
        tokensPerSecond: TOKENS_PER_SECOND,
        prefillMs: 20,
        faults: fault === undefined ? [] : [fault],
      })
      undo.push(() => simulator.stop())
      const worker = await startWorker({
        redisUrl: redis.url,
        pool: 'bench',
        replicaUrl: simulator.url,
        slots: SLOTS,
        logger: createLogger('bench', 'silent'),
      })
      undo.push(() => worker.stop(0))
      while (worker.state !== 'ready') await sleep(2)
    }
    const fromMs = monotonicMs()
    const bad = Array.from({ length: BAD }, (_, n) => follow(client, `POISON ${n}`, size.tokens))
    const good = await Promise.all(
      Array.from({ length: size.good }, (_, n) => follow(client, `A long story, part ${n}`, size.tokens)),
    )
    return {
      goodMs: Math.max(...good.map(({ overMs }) => overMs)) - fromMs,
      lost: good.filter(({ ended }) => !ended).length,
      sealMs: fault === undefined ? [] : (await Promise.all(bad)).map(({ sealMs }) => sealMs),
    }
  } finally {
    for (let release = undo.pop(); release !== undefined; release = undo.pop()) await release()
  }
}

async function follow(client: PoolClient, inputs: string, tokens: number) {
  const { job_id: jobId } = await client.enqueue({ inputs, parameters: { max_new_tokens: tokens } })
  let startedMs = 0
  let ended = false
  for await (const { event } of client.events(jobId)) {
    if (event === 'started') startedMs = monotonicMs()
    if (event === 'end') ended = true
  }
  const overMs = monotonicMs()
  return { ended, overMs, sealMs: overMs - startedMs }
}
