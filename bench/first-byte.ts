/**
 * How soon has an HTTP client its first token?
 *
 * Measured on an idle system, request after request, at the client (undici, keep-alive, one client for each way, in the
 * bench's process), from the call of the first request to the first token's bytes. `direct`: POST /generate_stream on the
 * replica. `gateway`: POST /v1/jobs with Accept: text/event-stream, which answers with the events. `two_requests`: POST
 * /v1/jobs through its answer, then GET /v1/jobs/<id>/events; `enqueue` is its POST alone. Gateway, worker, replica and
 * Redis are processes of their own. `cpu_us`: the gateway's processor time for a job. Once with a replica that needs no
 * time for its prefill, once with one that needs 20 ms: time in which a second request finds its way.
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

/** What was seen with one prefill (ms each). */
interface PrefillReading {
  /** The gateway's processor time a job, in one request. */
  readonly cpuMicros: number
  readonly direct: readonly number[]
  readonly gateway: readonly number[]
  readonly twoRequests: readonly number[]
  readonly enqueue: readonly number[]
}

/** See the head of this file. */
export const firstByte: Bench = {
  name: 'first-byte',
  question: 'How soon has an HTTP client its first token, on an idle system?',
  subjects: ['gateway', 'two_requests', 'enqueue', 'direct'],
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
  for (const [prefillMs, { direct, gateway, twoRequests, enqueue, cpuMicros }] of found) {
    const name = (part: string) => `prefill_${prefillMs}_${part}`
    for (const [part, p] of [
      ['p50_ms', 0.5],
      ['p99_ms', 0.99],
    ] as const) {
      figures[`gateway_${name(part)}`] = percentile(gateway, p)
      figures[`two_requests_${name(part)}`] = percentile(twoRequests, p)
      figures[`enqueue_${name(part)}`] = percentile(enqueue, p)
      baseline[`direct_${name(part)}`] = percentile(direct, p)
    }
    figures[`gateway_${name('cpu_us')}`] = cpuMicros
    const added = percentile(gateway, 0.5) - percentile(direct, 0.5)
    ratios[name('p50_to_direct')] = percentile(gateway, 0.5) / percentile(direct, 0.5)
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
  const agents = { direct: new Agent(), gateway: new Agent(), twoRequests: new Agent() }
  const seen = { direct: [] as number[], gateway: [] as number[], twoRequests: [] as number[] }
  const enqueue: number[] = []
  let usedMicros = 0
  try {
    for (let block = settings.quick ? 1 : 0; block <= blocks; block += 1) {
      settings.progress(`first-byte: block ${block} of ${blocks}`)
      const take = async (way: keyof typeof seen, once: (agent: Agent) => Promise<number>) => {
        for (let nth = 0; nth < requests; nth += 1) {
          const ms = await once(agents[way])
          if (block > 0) seen[way].push(ms)
          await idleTime()
        }
      }
      await take('direct', (agent) => firstDirect(lab, agent))
      const before = await gateway.weigh()
      await take('gateway', (agent) => firstThrough(gateway.url, lab, agent))
      if (block > 0) usedMicros += (await gateway.weigh()).cpuMicros - before.cpuMicros
      await take('twoRequests', async (agent) => {
        const { enqueueMs, firstMs } = await firstInTwo(gateway.url, lab, agent)
        if (block > 0) enqueue.push(enqueueMs)
        return firstMs
      })
    }
    return { ...seen, enqueue, cpuMicros: usedMicros / seen.gateway.length }
  } finally {
    await Promise.all(Object.values(agents).map((agent) => agent.destroy()))
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
  return firstMatch(response.body, '"token":', startMs)
}

async function firstThrough(gatewayUrl: string, lab: Lab, dispatcher: Agent): Promise<number> {
  const body = jobBody(lab)
  const headers = { ...JSON_TYPE, accept: 'text/event-stream' }
  const startMs = monotonicMs()
  const response = await request(`${gatewayUrl}/v1/jobs`, { method: 'POST', headers, body, dispatcher })
  return firstMatch(response.body, 'event: token', startMs)
}

async function firstInTwo(gatewayUrl: string, lab: Lab, dispatcher: Agent): Promise<TwoRequestTimes> {
  const body = jobBody(lab)
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
  return { enqueueMs, firstMs: await firstMatch(response.body, 'event: token', startMs) }
}

/** How long each step took (ms). */
interface TwoRequestTimes {
  readonly enqueueMs: number
  readonly firstMs: number
}

function jobBody(lab: Lab): string {
  const inputs = taggedPrompt(newTag())
  return JSON.stringify({ pool: lab.pool.pool, inputs, parameters: { max_new_tokens: TOKENS } })
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
