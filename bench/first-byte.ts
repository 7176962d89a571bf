/**
 * How soon has an HTTP client its first token?
 *
 * Measured on an idle system, request after request, at the client (undici, keep-alive, one client for each way, in the
 * bench's process): `direct`: from the call of POST /generate_stream on the replica to the first token's bytes. `gateway`:
 * from the call of POST /v1/jobs through its answer and GET /v1/jobs/<id>/events to the first token's bytes; gateway, worker,
 * replica and Redis are processes of their own. `enqueue`: POST /v1/jobs alone, a part of it. `cpu_us`: the gateway's
 * processor time for both requests. Once with a replica that needs no time for its prefill, once with one that needs 20 ms:
 * time in which the client's second request finds its way.
 *
 * Against noise: the ways take turns in blocks, the first block of each is thrown away; between requests a few random
 * milliseconds pass, so that nothing is in step and BullMQ waits in Redis again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { startGatewayProcess } from './gateway/gateway-process.ts'
import { monotonicMs } from './support/clock.ts'
import type { Lab } from './support/lab.ts'
import { newTag, taggedPrompt, withLab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { percentile } from './support/statistics.ts'
import { startWorkerProcess } from './support/worker-process.ts'
import { tgiBody } from './rivals/tgi-answers.ts'

const PREFILLS_MS = [0, 20] as const
const TOKENS = 4
const ADDED_BAR_MS = 4

/** How long each step of one request took (ms). */
interface GatewayTimes {
  readonly enqueueMs: number
  readonly firstMs: number
}

/** What was seen with one prefill. */
interface PrefillReading {
  /** The gateway's processor time a request pair. */
  readonly cpuMicros: number
  readonly direct: readonly number[]
  readonly gateway: readonly GatewayTimes[]
}

/** See the head of this file. */
export const firstByte: Bench = {
  name: 'first-byte',
  question: 'How soon has an HTTP client its first token, on an idle system?',
  subjects: ['gateway', 'enqueue', 'direct'],
  async run(settings) {
    const found: [number, PrefillReading][] = []
    for (const prefillMs of PREFILLS_MS) {
      const lab = { tokensPerSecond: 0, prefillMs, maxConcurrentRequests: 16, observed: false }
      found.push([prefillMs, await withLab(lab, (built) => measure(built, settings))])
    }
    return readingOf(found)
  },
}

function readingOf(found: readonly [number, PrefillReading][]): BenchReading {
  const figures: Record<string, number> = {}
  const baseline: Record<string, number> = {}
  const ratios: Record<string, number> = {}
  const bars: BenchReading['bars'][number][] = []
  for (const [prefillMs, { direct, gateway, cpuMicros }] of found) {
    const first = gateway.map((times) => times.firstMs)
    const enqueue = gateway.map((times) => times.enqueueMs)
    const name = (part: string) => `prefill_${prefillMs}_${part}`
    for (const [part, p] of [
      ['p50_ms', 0.5],
      ['p99_ms', 0.99],
    ] as const) {
      figures[`gateway_${name(part)}`] = percentile(first, p)
      figures[`enqueue_${name(part)}`] = percentile(enqueue, p)
      baseline[`direct_${name(part)}`] = percentile(direct, p)
    }
    figures[`gateway_${name('cpu_us')}`] = cpuMicros
    const added = percentile(first, 0.5) - percentile(direct, 0.5)
    ratios[name('p50_to_direct')] = percentile(first, 0.5) / percentile(direct, 0.5)
    bars.push({
      what: `first token through the gateway above direct, prefill ${prefillMs} ms, p50 (ms)`,
      limit: { atMost: ADDED_BAR_MS },
      got: Math.max(0, added),
    })
  }
  return { figures, baseline, ratios, bars }
}

async function measure(lab: Lab, settings: BenchSettings): Promise<PrefillReading> {
  const { blocks, requests } = settings.quick ? { blocks: 1, requests: 3 } : { blocks: 6, requests: 40 }
  const worker = await startWorkerProcess({
    redisUrl: lab.redisUrl,
    pool: lab.pool.pool,
    replicaUrl: lab.simulator.url,
    slots: 8,
  })
  const gateway = await startGatewayProcess({ redisUrl: lab.redisUrl })
  const [toReplica, toGateway] = [new Agent(), new Agent()]
  const direct: number[] = []
  const through: GatewayTimes[] = []
  let usedMicros = 0
  try {
    for (let block = settings.quick ? 1 : 0; block <= blocks; block += 1) {
      settings.progress(`first-byte: block ${block} of ${blocks}`)
      for (let nth = 0; nth < requests; nth += 1) {
        const ms = await firstDirect(lab, toReplica)
        if (block > 0) direct.push(ms)
      }
      const before = await gateway.weigh()
      for (let nth = 0; nth < requests; nth += 1) {
        const times = await firstThrough(gateway.url, lab, toGateway)
        if (block > 0) through.push(times)
      }
      if (block > 0) usedMicros += (await gateway.weigh()).cpuMicros - before.cpuMicros
    }
    return { direct, gateway: through, cpuMicros: usedMicros / through.length }
  } finally {
    await Promise.all([toReplica.destroy(), toGateway.destroy()])
    await gateway.stop()
    await worker.stop()
  }
}

const JSON_TYPE = { 'content-type': 'application/json' }

async function firstDirect(lab: Lab, dispatcher: Agent): Promise<number> {
  const body = tgiBody(newTag(), TOKENS)
  const startMs = monotonicMs()
  const url = `${lab.simulator.url}/generate_stream`
  const response = await request(url, { method: 'POST', headers: JSON_TYPE, body, dispatcher })
  const ms = await firstMatch(response.body, '"token":', startMs)
  await idleTime()
  return ms
}

async function firstThrough(gatewayUrl: string, lab: Lab, dispatcher: Agent): Promise<GatewayTimes> {
  const inputs = taggedPrompt(newTag())
  const body = JSON.stringify({ pool: lab.pool.pool, inputs, parameters: { max_new_tokens: TOKENS } })
  const startMs = monotonicMs()
  const accepted = await request(`${gatewayUrl}/v1/jobs`, {
    method: 'POST',
    headers: JSON_TYPE,
    body,
    dispatcher,
  })
  const { events } = (await accepted.body.json()) as { events: string }
  const enqueueMs = monotonicMs() - startMs
  const response = await request(`${gatewayUrl}${events}`, { dispatcher })
  const firstMs = await firstMatch(response.body, 'event: token', startMs)
  await idleTime()
  return { enqueueMs, firstMs }
}

/** Reads a body to its end; how long after `startMs` the text was in it. */
async function firstMatch(body: AsyncIterable<Uint8Array>, text: string, startMs: number): Promise<number> {
  let seen = ''
  let ms: number | undefined
  for await (const chunk of body) {
    seen += Buffer.from(chunk).toString('latin1')
    if (ms === undefined && seen.includes(text)) ms = monotonicMs() - startMs
  }
  if (ms === undefined) throw new Error(`an answer without a token: ${seen.slice(0, 300)}`)
  return ms
}

async function idleTime(): Promise<void> {
  await sleep(8 + Math.random() * 8)
}
