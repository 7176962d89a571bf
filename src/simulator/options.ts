import { PoolError } from '../contract/error.ts'
import type { ChatMarker } from './chat-template.ts'
import type { Clock } from './clock.ts'
import { REAL_CLOCK } from './clock.ts'
import type { Fault } from './faults.ts'
import type { SimulatorObserver } from './ledger.ts'

/** How a simulator looks and behaves. Everything has a default; the limits' defaults are TGI's own (launcher/src/main.rs, 3.3.7). */
export interface SimulatorOptions {
  /** @defaultValue 0, a free port */
  readonly port?: number | undefined
  /** @defaultValue '127.0.0.1' */
  readonly host?: string | undefined
  /** @defaultValue 'simulated/tiny-llm' */
  readonly modelId?: string | undefined
  /** @defaultValue null, as for a local directory */
  readonly modelSha?: string | null | undefined
  /** @defaultValue '3.3.6-dev0', which is what v3.3.7 says */
  readonly version?: string | undefined
  /** @defaultValue null */
  readonly sha?: string | null | undefined
  /** @defaultValue 'sim' */
  readonly dockerLabel?: string | null | undefined
  /** Per stream; 0 is as fast as it goes. @defaultValue 50 */
  readonly tokensPerSecond?: number | undefined
  /** Per request, and again per slice of 1024 tokens; requests do not wait for each other. @defaultValue 20 */
  readonly prefillMs?: number | undefined
  /** Permits. @defaultValue 128 */
  readonly maxConcurrentRequests?: number | undefined
  /** Requests that run at once; the others queue, first come first served. @defaultValue no bound */
  readonly maxBatchSize?: number | undefined
  /** @defaultValue `maxTotalTokens` - 1 */
  readonly maxInputTokens?: number | undefined
  /** @defaultValue 4096 */
  readonly maxTotalTokens?: number | undefined
  /** @defaultValue 4 */
  readonly maxStopSequences?: number | undefined
  /** @defaultValue 5 */
  readonly maxTopNTokens?: number | undefined
  /** Bytes. @defaultValue 2_000_000 */
  readonly payloadLimit?: number | undefined
  /** Wanted as `Authorization: Bearer <key>`. @defaultValue none */
  readonly apiKey?: string | undefined
  /** When the chat template writes `<s>`; `never` as for Zephyr and TinyLlama. @defaultValue 'always' */
  readonly chatMarker?: ChatMarker | undefined
  /** Silence after which a stream gets a comment. @defaultValue 15_000 */
  readonly keepAliveMs?: number | undefined
  /** Text depends, one token in eight, on how many requests run at once; alone it never does. @defaultValue false */
  readonly batchDivergence?: boolean | undefined
  /** Text depends on all tokens before it, not only on their text, as with a real model. @defaultValue false */
  readonly readsTokens?: boolean | undefined
  /** @defaultValue none */
  readonly faults?: readonly Fault[] | undefined
  /** Called in this process, for benches. */
  readonly observer?: SimulatorObserver | undefined
  /** The clock of paces and delays; tests step it. @defaultValue the clock of this process */
  readonly clock?: Clock | undefined
}

/** {@link SimulatorOptions} with every default in place and every number checked. */
export interface Settings {
  readonly port: number
  readonly host: string
  readonly modelId: string
  readonly modelSha: string | null
  readonly version: string
  readonly sha: string | null
  readonly dockerLabel: string | null
  readonly tokensPerSecond: number
  readonly prefillMs: number
  readonly maxConcurrentRequests: number
  readonly maxBatchSize: number
  readonly maxInputTokens: number
  readonly maxTotalTokens: number
  readonly maxStopSequences: number
  readonly maxTopNTokens: number
  readonly payloadLimit: number
  readonly apiKey: string | undefined
  readonly chatMarker: ChatMarker
  readonly keepAliveMs: number
  readonly batchDivergence: boolean
  readonly readsTokens: boolean
  readonly observer: SimulatorObserver
  readonly clock: Clock
}

function number(name: string, value: number, min: number, max: number, whole = true): number {
  if (value >= min && value <= max && (!whole || Number.isInteger(value) || value === Infinity)) return value
  const kind = whole ? 'an integer' : 'a number'
  throw new PoolError('CONFIG', `simulator: ${name} must be ${kind} from ${min} to ${max}, got ${value}`)
}

/** Fills in the defaults. A number out of range is a `CONFIG` error that names it. */
export function settle(options: SimulatorOptions): Settings {
  const maxTotalTokens = number('maxTotalTokens', options.maxTotalTokens ?? 4096, 2, 1e9)
  return {
    port: number('port', options.port ?? 0, 0, 65_535),
    host: options.host ?? '127.0.0.1',
    modelId: options.modelId ?? 'simulated/tiny-llm',
    modelSha: options.modelSha ?? null,
    version: options.version ?? '3.3.6-dev0',
    sha: options.sha ?? null,
    dockerLabel: options.dockerLabel === undefined ? 'sim' : options.dockerLabel,
    tokensPerSecond: number('tokensPerSecond', options.tokensPerSecond ?? 50, 0, 1e6, false),
    prefillMs: number('prefillMs', options.prefillMs ?? 20, 0, 1e9, false),
    maxConcurrentRequests: number('maxConcurrentRequests', options.maxConcurrentRequests ?? 128, 1, 1e6),
    maxBatchSize: number('maxBatchSize', options.maxBatchSize ?? Infinity, 1, Infinity),
    maxInputTokens: number(
      'maxInputTokens',
      options.maxInputTokens ?? maxTotalTokens - 1,
      1,
      maxTotalTokens - 1,
    ),
    maxTotalTokens,
    maxStopSequences: number('maxStopSequences', options.maxStopSequences ?? 4, 0, 1e6),
    maxTopNTokens: number('maxTopNTokens', options.maxTopNTokens ?? 5, 0, 100),
    payloadLimit: number('payloadLimit', options.payloadLimit ?? 2_000_000, 1, 1e9),
    apiKey: options.apiKey,
    chatMarker: options.chatMarker ?? 'always',
    keepAliveMs: number('keepAliveMs', options.keepAliveMs ?? 15_000, 1, 1e9, false),
    batchDivergence: options.batchDivergence ?? false,
    readsTokens: options.readsTokens ?? false,
    observer: options.observer ?? {},
    clock: options.clock ?? REAL_CLOCK,
  }
}
