/**
 * How soon has an HTTP client its first byte, and its first token?
 *
 * Measured on an idle system, request after request, at the client (undici, keep-alive, one client for each way, in the
 * bench's process), from the call of the first request to the head of the answer (`byte`) and to the first token's bytes
 * (`token`). `direct`: POST /generate_stream on the replica. `gateway`: POST /v1/jobs with Accept: text/event-stream, which
 * answers with the events, the first of which says that the job is accepted. `two_requests`: POST /v1/jobs through its
 * answer, then GET /v1/jobs/<id>/events; `enqueue` is its POST alone. Gateway, worker, replica and Redis are processes of
 * their own. `cpu_us`: the gateway's processor time for a job. Once with a replica that needs no time for its prefill, once
 * with one that needs 20 ms: time in which a second request finds its way. Both kinds of bars are held to the same bound.
 *
 * Against noise: the ways take turns in blocks, and the first blocks of each are thrown away: Node compiles what runs often,
 * and this is about a gateway that has been up for a minute. Between requests a few random milliseconds pass, so that nothing
 * is in step and BullMQ waits in Redis again.
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
/** Blocks that are thrown away. */
const WARM_UP = 3

/** When what of an answer was there (ms from its request). */
interface AnswerTimes {
  readonly byteMs: number
  readonly tokenMs: number
}

/** What was seen with one prefill (ms each). */
interface PrefillReading {
  /** The gateway's processor time a job, in one request. */
  readonly cpuMicros: number
  readonly direct: readonly AnswerTimes[]
  readonly gateway: readonly AnswerTimes[]
  /** To the first token. */
  readonly twoRequests: readonly number[]
  readonly enqueue: readonly number[]
}

/** See the head of this file. */
export const firstByte: Bench = {
  name: 'first-byte',
  question: 'How soon has an HTTP client its first byte and its first token, on an idle system?',
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
    const times = (part: keyof AnswerTimes) => ({
      direct: direct.map((answer) => answer[part]),
      gateway: gateway.map((answer) => answer[part]),
    })
    const parts = { byte: times('byteMs'), token: times('tokenMs') }
    for (const [percent, p] of [
      ['p50_ms', 0.5],
      ['p99_ms', 0.99],
    ] as const) {
      for (const [part, seen] of Object.entries(parts)) {
        figures[`gateway_${name(`${part}_${percent}`)}`] = percentile(seen.gateway, p)
        baseline[`direct_${name(`${part}_${percent}`)}`] = percentile(seen.direct, p)
      }
      figures[`two_requests_${name(`token_${percent}`)}`] = percentile(twoRequests, p)
      figures[`enqueue_${name(percent)}`] = percentile(enqueue, p)
    }
    figures[`gateway_${name('cpu_us')}`] = cpuMicros
    for (const [part, seen] of Object.entries(parts)) {
      const [through, without] = [percentile(seen.gateway, 0.5), percentile(seen.direct, 0.5)]
      ratios[name(`${part}_p50_to_direct`)] = through / without
      bars.push({
        what: `first ${part} through the gateway above direct, prefill ${prefillMs} ms, p50 (ms)`,
        limit: { atMost: ADDED_BAR_MS },
        got: Math.max(0, through - without),
      })
    }
  }
  return { figures, baseline, ratios, bars }
}

async function measure(lab: Lab, settings: BenchSettings): Promise<PrefillReading> {
  const { blocks, requests, warmUp } = settings.quick
    ? { blocks: 1, requests: 3, warmUp: 0 }
    : { blocks: 6, requests: 40, warmUp: WARM_UP }
  const worker = await startWorkerProcess({
    redisUrl: lab.redisUrl,
    pool: lab.pool.pool,
    replicaUrl: lab.simulator.url,
    slots: 8,
  })
  const gateway = await startGatewayProcess({ redisUrl: lab.redisUrl })
  const agents = { direct: new Agent(), gateway: new Agent(), twoRequests: new Agent() }
  const direct: AnswerTimes[] = []
  const through: AnswerTimes[] = []
  const twoRequests: number[] = []
  const enqueue: number[] = []
  let usedMicros = 0
  try {
    for (let block = 1 - warmUp; block <= blocks; block += 1) {
      settings.progress(`first-byte: block ${block} of ${blocks}`)
      const counts = block > 0
      const repeat = async (once: () => Promise<void>) => {
        for (let nth = 0; nth < requests; nth += 1) {
          await once()
          await idleTime()
        }
      }
      await repeat(async () => {
        const times = await firstDirect(lab, agents.direct)
        if (counts) direct.push(times)
      })
      const before = await gateway.weigh()
      await repeat(async () => {
        const times = await firstThrough(gateway.url, lab, agents.gateway)
        if (counts) through.push(times)
      })
      if (counts) usedMicros += (await gateway.weigh()).cpuMicros - before.cpuMicros
      await repeat(async () => {
        const { enqueueMs, firstMs } = await firstInTwo(gateway.url, lab, agents.twoRequests)
        if (!counts) return
        enqueue.push(enqueueMs)
        twoRequests.push(firstMs)
      })
    }
    return { direct, gateway: through, twoRequests, enqueue, cpuMicros: usedMicros / through.length }
  } finally {
    await Promise.all(Object.values(agents).map((agent) => agent.destroy()))
    await gateway.stop()
    await worker.stop()
  }
}

const JSON_TYPE = { 'content-type': 'application/json' }

async function firstDirect(lab: Lab, dispatcher: Agent): Promise<AnswerTimes> {
  const body = tgiBody(newTag(), TOKENS)
  const startMs = monotonicMs()
  const url = `${lab.simulator.url}/generate_stream`
  const response = await request(url, { method: 'POST', headers: JSON_TYPE, body, dispatcher })
  const byteMs = monotonicMs() - startMs
  return { byteMs, tokenMs: await firstMatch(response.body, '"token":', startMs) }
}

async function firstThrough(gatewayUrl: string, lab: Lab, dispatcher: Agent): Promise<AnswerTimes> {
  const body = jobBody(lab)
  const headers = { ...JSON_TYPE, accept: 'text/event-stream' }
  const startMs = monotonicMs()
  const response = await request(`${gatewayUrl}/v1/jobs`, { method: 'POST', headers, body, dispatcher })
  const byteMs = monotonicMs() - startMs
  return { byteMs, tokenMs: await firstMatch(response.body, 'event: token', startMs) }
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
