/**
 * Follows one replica: is it there, is it healthy, is it the build and model that the pool insists on?
 *
 * | state | what was seen last |
 * |---|---|
 * | `connecting` | nothing yet |
 * | `ready` | healthy and of the pinned build, or silent while our own prefill blocks its health route |
 * | `unhealthy` | it said so, refused the connection, or is no TGI; or nothing, for too long, while nothing streamed |
 * | `drifted` | healthy, and not what the pin says |
 *
 * `/health` of TGI waits behind a running prefill (server.py) and has no time limit of its own: silence alone does
 * not make a replica unhealthy while its tokens flow, or while a request of ours waits for its first token. After the pool's
 * `first_token_timeout_ms` the attempt fails, and silence counts again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Pin } from '../contract/pool-config.ts'
import type { Versions } from '../contract/replica-entry.ts'

/** What a probe found. */
export type ProbeResult =
  | { readonly kind: 'healthy'; readonly versions: Versions }
  | { readonly kind: 'unhealthy'; readonly reason: string }
  | { readonly kind: 'silent'; readonly reason: string }

/** Where a replica stands. */
export type SessionState =
  | { readonly state: 'connecting'; readonly versions: undefined; readonly reason: string }
  /** `reason`: what blocks the health check, if anything. */
  | { readonly state: 'ready'; readonly versions: Versions; readonly reason: string | undefined }
  | { readonly state: 'unhealthy'; readonly versions: Versions | undefined; readonly reason: string }
  | { readonly state: 'drifted'; readonly versions: Versions; readonly reason: string }

/** How to follow. */
export interface SessionOptions {
  /** Looks once; never rejects but for the signal. */
  readonly probe: (signal: AbortSignal) => Promise<ProbeResult>
  /** What the pool insists on now. */
  readonly pin: () => Pin
  /** When the replica last sent a token (performance.now()); -Infinity for never. */
  readonly lastActivity: () => number
  /**
   * Whether our own prefill may block the replica's health route: since a healthy probe began (performance.now(); -Infinity for
   * never), a request has been waiting for its first token, or was aborted during that wait.
   */
  readonly isPrefilling: (since: number) => boolean
  /** Called with every change of state, reason or versions. */
  readonly onChange: (state: SessionState, before: SessionState) => void
  /** Between two probes (ms). @defaultValue 1000 */
  readonly beatMs?: number | undefined
}

/** A replica that is being followed. */
export interface Session {
  readonly current: SessionState
  /** Looks again soon: an attempt has just met a fault. */
  nudge(): void
  /** Ends it; resolves when no probe is under way. Idempotent. */
  stop(): Promise<void>
}

/** Silent for this many probes without a token meanwhile, a replica counts as unhealthy. */
const SILENT_PROBES = 2
/** Why a silent replica is ready. */
const BEHIND_PREFILL = 'health check is waiting behind a prefill'

/** Begins to follow a replica. */
export function startSession(options: SessionOptions): Session {
  const beatMs = options.beatMs ?? 1000
  const stopping = new AbortController()
  let nudged = new AbortController()
  let current: SessionState = { state: 'connecting', versions: undefined, reason: 'not probed yet' }
  let silent = 0
  /** When the last healthy probe began. */
  let healthyAt = -Infinity

  function judge(result: ProbeResult, since: number): SessionState {
    if (result.kind === 'healthy') {
      silent = 0
      healthyAt = since
      const drift = driftFrom(options.pin(), result.versions)
      return drift === undefined
        ? { state: 'ready', versions: result.versions, reason: undefined }
        : { state: 'drifted', versions: result.versions, reason: drift }
    }
    if (result.kind === 'silent') {
      if (current.state === 'ready' && options.isPrefilling(healthyAt)) {
        silent = 0
        return { ...current, reason: BEHIND_PREFILL }
      }
      silent = options.lastActivity() >= since ? 0 : silent + 1
      if (silent < SILENT_PROBES && current.state !== 'connecting') return current
    }
    return { state: 'unhealthy', versions: current.versions, reason: result.reason }
  }

  async function follow(): Promise<void> {
    while (!stopping.signal.aborted) {
      // Made before the probe: a nudge while it is under way asks for another one straight after it.
      nudged = new AbortController()
      const since = performance.now()
      const result = await options.probe(stopping.signal).catch((error: unknown): ProbeResult => ({
        kind: 'unhealthy',
        reason: error instanceof Error ? error.message : String(error),
      }))
      if (stopping.signal.aborted) return
      const next = judge(result, since)
      const before = current
      current = next
      if (JSON.stringify(next) !== JSON.stringify(before)) options.onChange(next, before)
      await sleep(beatMs, undefined, { signal: nudged.signal }).catch(() => undefined)
    }
  }

  const following = follow()
  return {
    get current() {
      return current
    },
    nudge: () => nudged.abort(),
    stop() {
      stopping.abort()
      nudged.abort()
      return following
    },
  }
}

/** Every field in which a replica differs from the pin; undefined if it fits. */
function driftFrom(pin: Pin, versions: Versions): string | undefined {
  const fields = (['engine_version', 'model_id', 'model_sha'] as const).filter(
    (field) => pin[field] !== undefined && pin[field] !== versions[field],
  )
  if (fields.length === 0) return undefined
  const differences = fields.map(
    (field) => `${field}: expected ${String(pin[field])}, got ${String(versions[field])}`,
  )
  return `differs from the pool's pin: ${differences.join('; ')}`
}
