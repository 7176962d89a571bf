/**
 * The main job, shown: a prompt streams, a consumer leaves and resumes, a cancel frees the replica. Everything is
 * real (Redis, HTTP, sockets) but the model, unless addresses of replicas are given.
 */
import { openPool } from '../client/pools.ts'
import type { PoolClient } from '../client/pool-client.ts'
import type { JobEvent } from '../contract/event.ts'
import { redactUrl } from '../redis/address.ts'
import { startRedisServer } from '../redis/server.ts'
import { createLogger } from '../runtime/log.ts'
import { startSimulator } from '../simulator/server.ts'
import { startWorker } from '../worker/worker.ts'
import { startDemoGateway } from './gateway.ts'
import { readCounters } from './replica-counters.ts'
import type { ReplicaCounters } from './replica-counters.ts'

/** What to show, and on what. */
export interface DemoOptions {
  /** @defaultValue a server of the demo's own */
  readonly redisUrl?: string | undefined
  /** Addresses of real replicas. @defaultValue two simulated ones */
  readonly replicas?: readonly string[] | undefined
  readonly apiKey?: string | undefined
  /** Serves it over HTTP, too. @defaultValue false */
  readonly gateway?: boolean | undefined
  /** Prints to the terminal. */
  readonly write: (text: string) => void
  readonly signal: AbortSignal
}

/** A demo that is up. */
export interface Demo {
  readonly redisUrl: string
  readonly pool: string
  readonly replicas: readonly string[]
  /** Where the gateway is, if there is one. */
  readonly gateway: string | undefined
  /** Shows the main job; rejects when a step does not do what it says. */
  show(): Promise<void>
  /** Leaves nothing running. */
  stop(): Promise<void>
}

const POOL = 'demo'
const SLOTS = 4
const READY_MS = 15_000

/** Starts Redis, replicas and workers; resolves when every replica is ready. */
export async function startDemo(options: DemoOptions): Promise<Demo> {
  const undo: (() => Promise<void>)[] = []
  const stop = async () => {
    while (undo.length > 0) await undo.pop()?.()
  }
  try {
    const server = options.redisUrl === undefined ? await startRedisServer() : undefined
    if (server !== undefined) undo.push(() => server.stop())
    const redisUrl = options.redisUrl ?? server?.url ?? ''
    const replicas = options.replicas ?? (await startReplicas(undo))
    for (const replicaUrl of replicas) {
      const logger = createLogger('worker', 'error', { pretty: process.stderr.isTTY })
      const worker = await startWorker({
        redisUrl,
        pool: POOL,
        replicaUrl,
        slots: SLOTS,
        apiKey: options.apiKey,
        logger,
      })
      undo.push(() => worker.stop(0))
    }
    const client = await openPool({ redisUrl, pool: POOL })
    undo.push(() => client.close())
    await waitUntilReady(client, replicas.length, options.signal)
    const gateway = options.gateway === true ? await startDemoGateway(redisUrl) : undefined
    if (gateway !== undefined) undo.push(() => gateway.stop())
    return {
      redisUrl,
      pool: POOL,
      replicas,
      gateway: gateway?.url,
      stop,
      show: () =>
        show({ ...options, client, redisUrl, urls: replicas, simulated: options.replicas === undefined }),
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startReplicas(undo: (() => Promise<void>)[]): Promise<string[]> {
  const urls: string[] = []
  for (let n = 0; n < 2; n += 1) {
    const simulator = await startSimulator({ tokensPerSecond: 40 })
    undo.push(() => simulator.stop())
    urls.push(simulator.url)
  }
  return urls
}

async function waitUntilReady(client: PoolClient, wanted: number, signal: AbortSignal): Promise<void> {
  const until = performance.now() + READY_MS
  for (;;) {
    signal.throwIfAborted()
    const replicas = await client.replicas()
    if (replicas.filter((replica) => replica.state === 'ready').length >= wanted) return
    if (performance.now() > until) {
      const seen = replicas.map((replica) => `${replica.url} is ${replica.state}: ${replica.reason ?? ''}`)
      throw new Error(`expected ${wanted} ready replicas within ${READY_MS / 1000} s; ${seen.join('; ')}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

interface Stage extends DemoOptions {
  readonly client: PoolClient
  readonly redisUrl: string
  readonly urls: readonly string[]
  readonly simulated: boolean
}

async function show(stage: Stage): Promise<void> {
  const { write } = stage
  const what = stage.simulated ? 'two simulated replicas (their text is made up)' : 'replicas'
  write(`Redis at ${redactUrl(stage.redisUrl)}, pool ${POOL}, ${what}: ${stage.urls.join(', ')}\n`)
  await showStreaming(stage)
  await showResuming(stage)
  await showCancelling(stage)
}

async function showStreaming({ client, write, signal }: Stage): Promise<void> {
  write('\n1. A prompt goes in, its text comes out as it is made.\n\n   ')
  const { job_id: jobId } = await client.enqueue({
    inputs: 'Tell me about the sea',
    parameters: { max_new_tokens: 40 },
  })
  for await (const piece of client.text(jobId, { signal })) write(piece)
  const { end, replica_id: replicaId } = await client.job(jobId)
  write(
    `\n\n   job ${jobId} on ${replicaId ?? '?'}: ${end?.tokens_out ?? '?'} tokens, the first after ${end?.first_token_ms ?? '?'} ms\n`,
  )
}

async function showResuming(stage: Stage): Promise<void> {
  const { client, write, signal } = stage
  write(
    '\n2. A consumer leaves in the middle and comes back: not one event is missing, not one comes twice.\n\n',
  )
  const { job_id: jobId } = await client.enqueue({
    inputs: 'Tell me about rain',
    parameters: { max_new_tokens: 30 },
  })
  const seen: JobEvent[] = []
  for await (const event of client.events(jobId, { signal })) {
    if (event.event === 'restart') throw new Error('the events were lost')
    seen.push(event)
    if (event.event === 'token' && event.data.i === 9) break
  }
  const cursor = seen.at(-1)?.id
  write(
    `   read:    ${textOf(seen)}\n   left after event ${cursor ?? '?'} … and resumed over a new connection:\n`,
  )
  const other = await openPool({ redisUrl: stage.redisUrl, pool: POOL })
  try {
    const rest: JobEvent[] = []
    for await (const event of other.events(jobId, { after: cursor, signal })) {
      if (event.event !== 'restart') rest.push(event)
    }
    write(`   resumed: ${textOf(rest)}\n`)
    const whole: JobEvent[] = []
    for await (const event of other.events(jobId, { signal }))
      if (event.event !== 'restart') whole.push(event)
    const same = JSON.stringify([...seen, ...rest]) === JSON.stringify(whole)
    if (!same) throw new Error('the two halves are not the whole')
    write(`   together they are the ${whole.length} events that a third reader gets from the start\n`)
  } finally {
    await other.close()
  }
}

async function showCancelling({ client, write, signal }: Stage): Promise<void> {
  write("\n3. A cancel closes the request, and the replica is free: by the replica's own counters.\n\n")
  const { job_id: jobId } = await client.enqueue({
    inputs: 'Tell me everything',
    parameters: { max_new_tokens: 1000 },
  })
  let url = ''
  let before: ReplicaCounters = { dropped: 0, running: 0 }
  for await (const event of client.events(jobId, { signal })) {
    if (event.event === 'started') {
      url =
        (await client.replicas()).find((replica) => replica.replica_id === event.data.replica_id)?.url ?? ''
      before = await readCounters(url)
    }
    if (event.event === 'token' && event.data.i === 20) {
      const running = await readCounters(url)
      write(`   while it runs:  running ${running.running}, dropped ${running.dropped}\n`)
      const from = performance.now()
      await client.cancel(jobId, { reason: 'seen enough' })
      write(`   cancel() after 21 of 1000 tokens returned in ${(performance.now() - from).toFixed(1)} ms\n`)
    }
    if (event.event === 'error') write(`   the job ended:  ${event.data.code} (${event.data.message})\n`)
  }
  const after = await waitUntilFree(url, before, signal)
  write(`   the replica:    running ${after.running}, dropped ${after.dropped}\n`)
}

/** The replica counts a dropped request at that request's next token. */
async function waitUntilFree(
  url: string,
  before: ReplicaCounters,
  signal: AbortSignal,
): Promise<ReplicaCounters> {
  const until = performance.now() + 5000
  for (;;) {
    signal.throwIfAborted()
    const counters = await readCounters(url)
    if (counters.dropped > before.dropped) return counters
    if (performance.now() > until) throw new Error(`${url} still has the request 5 s after its cancel`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function textOf(events: readonly JobEvent[]): string {
  return JSON.stringify(events.map((event) => (event.event === 'token' ? event.data.t : '')).join(''))
}
