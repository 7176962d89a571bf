/**
 * Stamps tokens where they enter and leave unmodified code, by the diagnostics channels that undici and ioredis
 * publish on: `undici:request:bodyChunkReceived` before a chunk is handed on (undici 8.12, lib/core/request.js) and
 * `ioredis:command` when a command's reply has resolved its promise (ioredis 6.0, built/tracing.js).
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'

/** Stamps being taken. */
export interface Stamping {
  /** Milliseconds from chunk to acknowledgement of each token, by tag, in the order of its stream. */
  readonly latencies: ReadonlyMap<string, readonly number[]>
  stop(): void
}

/** What is known of one stream. */
interface Stamps {
  /** When the chunk that completed each token was handed over (performance.now()). */
  readonly arrivedMs: number[]
  readonly latencies: number[]
  /** The last chunk ended in the first half of a frame's end. */
  cut: boolean
}

const CREATED = 'undici:request:create'
const CHUNKS = 'undici:request:bodyChunkReceived'
const REPLIES = 'tracing:ioredis:command:asyncStart'

const NEWLINE = 10

/**
 * Starts to stamp. Streams are told apart by the `[tag:…]` of their prompt, which has to be the job's id.
 *
 * @param eventsKey the key of a job's stream.
 */
export function stampTokens(eventsKey: (tag: string) => string): Stamping {
  const byRequest = new WeakMap<object, Stamps>()
  const byKey = new Map<string, Stamps>()
  const latencies = new Map<string, number[]>()

  const onCreate = (message: unknown) => {
    const { request } = message as { request: { path: string; body: unknown } }
    if (!request.path.endsWith('/generate_stream')) return
    const tag = /\[tag:([^\]]+)\]/.exec(Buffer.from(request.body as Uint8Array).toString())?.[1]
    if (tag === undefined) return
    const stamps: Stamps = { arrivedMs: [], latencies: [], cut: false }
    byRequest.set(request, stamps)
    byKey.set(eventsKey(tag), stamps)
    latencies.set(tag, stamps.latencies)
  }
  const onChunk = (message: unknown) => {
    const now = performance.now()
    const { request, chunk } = message as { request: object; chunk: Uint8Array }
    const stamps = byRequest.get(request)
    if (stamps === undefined) return
    for (let frames = countFrames(stamps, chunk); frames > 0; frames -= 1) stamps.arrivedMs.push(now)
  }
  const onReply = (message: unknown) => {
    const now = performance.now()
    const { command, args, result } = message as { command: string; args: string[]; result?: unknown }
    // EVALSHA has its key behind the script's hash and the number of keys.
    const key = command === 'xadd' ? args[0] : args[2]
    const stamps = key === undefined ? undefined : byKey.get(key)
    if (stamps === undefined) return
    const acknowledged = acknowledgedTokens(command, args, result, stamps)
    for (let i = stamps.latencies.length; i < acknowledged; i += 1) {
      stamps.latencies.push(now - (stamps.arrivedMs[i] ?? Number.NaN))
    }
  }

  subscribe(CREATED, onCreate)
  subscribe(CHUNKS, onChunk)
  subscribe(REPLIES, onReply)
  return {
    latencies,
    stop() {
      unsubscribe(CREATED, onCreate)
      unsubscribe(CHUNKS, onChunk)
      unsubscribe(REPLIES, onReply)
    },
  }
}

/** Frames that this chunk completes: TGI ends each with an empty line, and sends no comments at this pace. */
function countFrames(stamps: Stamps, chunk: Uint8Array): number {
  let frames = 0
  let after = stamps.cut
  for (const byte of chunk) {
    if (byte !== NEWLINE) after = false
    else if (after) {
      frames += 1
      after = false
    } else after = true
  }
  stamps.cut = after
  return frames
}

/** How many of a stream's tokens Redis has after this reply. */
function acknowledgedTokens(
  command: string,
  args: readonly string[],
  result: unknown,
  { latencies }: Stamps,
): number {
  if (command === 'xadd') return latencies.length + 1
  // The script answers 1 when it has written (src/stream/write.lua); runs of tokens carry their number.
  if (result !== 1) return 0
  let tokens = 0
  for (let at = 2; at < args.length; at += 1) if (args[at] === 'token') tokens += Number(args[at - 1])
  return latencies.length + tokens
}
