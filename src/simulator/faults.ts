import { z } from 'zod'
import { PoolError } from '../contract/error.ts'

/**
 * What can go wrong on demand, by kind. Where `after` counts, it counts tokens sent before; 0 unless told.
 *
 * | kind | what happens |
 * |---|---|
 * | `refuse` | the connection is reset as soon as it stands, whatever it wanted |
 * | `hang-headers` | the request is taken and never answered |
 * | `http-401`, `http-500` | that status instead of an answer, as TGI sends it |
 * | `http-429`, `http-502`, `http-503` | that status instead of an answer, as a proxy in front sends it, with `Retry-After: <retry_after>` (s) where given |
 * | `overloaded` | as if no permit were free |
 * | `keep-alives` | `count` comments (3) before the first token |
 * | `slow-prefill` | prefill takes `ms` (3000) |
 * | `crash` | the socket goes after `after` tokens; with `mid_frame` half of the next event goes out before |
 * | `stall` | no token after `after`; comments go on, as when the batching task has died |
 * | `freeze` | no byte after `after` tokens, as when the process is stopped |
 * | `generation-error` | a `generation` error after `after` tokens; with `batch` for all running requests; with `path=/health` the prefill of `/health` after such an error fails |
 * | `incomplete` | an `incomplete_generation_stream` error after `after` tokens |
 * | `no-final-event` | the body ends properly after `after` tokens, or unless told just without its last event |
 * | `malformed` | after `after` tokens one event whose JSON is broken; then it goes on |
 * | `cut` | every byte of the body is a write of its own |
 * | `merge` | the whole body is one write, at the end |
 * | `no-space` | `data:` without its space |
 * | `null-logprob`, `negative-zero-logprob` | what TGI writes for NaN and infinities, and for -0 |
 * | `empty-generated-text` | `generated_text` is `""` although there were tokens |
 * | `long-token` | the token after `after` has a text of `count` (100000) characters |
 * | `top-tokens` | every token comes with `count` (100) of the likeliest, whatever was asked for |
 * | `escapes` | tokens are what terminals obey: OSC 52, colors, C1, marks of direction, in pieces |
 * | `many-series` | `/metrics` has a family of `count` (20000) series more |
 * | `unhealthy` | `/health` says 503 |
 * | `drift` | `/info` tells another `version` (9.9.9) |
 */
export const FAULT_KINDS = [
  'refuse',
  'hang-headers',
  'http-401',
  'http-500',
  'http-429',
  'http-502',
  'http-503',
  'overloaded',
  'keep-alives',
  'slow-prefill',
  'crash',
  'stall',
  'freeze',
  'generation-error',
  'incomplete',
  'no-final-event',
  'malformed',
  'cut',
  'merge',
  'no-space',
  'null-logprob',
  'negative-zero-logprob',
  'empty-generated-text',
  'long-token',
  'top-tokens',
  'escapes',
  'many-series',
  'unhealthy',
  'drift',
] as const

/** One of {@link FAULT_KINDS}. */
export type FaultKind = (typeof FAULT_KINDS)[number]

/** A fault to come. */
export interface Fault {
  readonly kind: FaultKind
  /** How many tokens go before. @defaultValue 0 */
  readonly after?: number | undefined
  /** How many requests it strikes. @defaultValue every one */
  readonly times?: number | undefined
  /** A text that the prompt must hold. */
  readonly match?: string | undefined
  /** The path it applies to, for `hang-headers`, `http-*` and `generation-error`. @defaultValue the routes that generate */
  readonly path?: string | undefined
  /** `crash` in the middle of an event. */
  readonly midFrame?: boolean | undefined
  /** `generation-error` for the whole running batch. */
  readonly batch?: boolean | undefined
  /** `Retry-After` of `http-429`, `http-502` and `http-503` (s). */
  readonly retryAfter?: number | undefined
  /** How long `slow-prefill` takes. @defaultValue 3000 */
  readonly ms?: number | undefined
  /** How many comments, characters, tokens or series. @defaultValue that of the kind */
  readonly count?: number | undefined
  /** What `drift` tells. @defaultValue '9.9.9' */
  readonly version?: string | undefined
}

/** A fault as JSON, for `POST /simulator/faults`: the fields of {@link Fault}, in snake_case. */
export const faultSchema = z
  .strictObject({
    kind: z.enum(FAULT_KINDS),
    after: z.number().int().min(0).optional(),
    times: z.number().int().min(1).optional(),
    match: z.string().min(1).optional(),
    path: z.string().startsWith('/').optional(),
    mid_frame: z.boolean().optional(),
    batch: z.boolean().optional(),
    retry_after: z.number().int().min(0).optional(),
    ms: z.number().min(0).optional(),
    count: z.number().int().min(1).optional(),
    version: z.string().min(1).optional(),
  })
  .transform(({ mid_frame: midFrame, retry_after: retryAfter, ...rest }): Fault => ({
    ...rest,
    midFrame,
    retryAfter,
  }))

const NUMBERS: readonly string[] = ['after', 'times', 'ms', 'count', 'retry_after']
const FLAGS: readonly string[] = ['mid_frame', 'batch']

/**
 * Reads a fault from a command line: `crash:after=5,times=2,mid-frame`. `match=` takes the rest of the text, commas included.
 * Anything else is a `CONFIG` error that says what was got and lists what is known.
 */
export function parseFault(text: string): Fault {
  const colon = text.indexOf(':')
  const kind = colon < 0 ? text : text.slice(0, colon)
  const settings: Record<string, unknown> = { kind }
  for (const part of colon < 0 ? [] : partsOf(text.slice(colon + 1))) {
    settings[nameOf(part)] = valueOf(part)
  }
  const parsed = faultSchema.safeParse(settings)
  if (parsed.success) return parsed.data
  const known = (FAULT_KINDS as readonly string[]).includes(kind)
  const expected = known
    ? 'after=N, times=N, path=/PATH, mid-frame, batch, retry-after=N, ms=N, count=N, version=TEXT or, last, match=TEXT'
    : FAULT_KINDS.join(', ')
  throw new PoolError('CONFIG', `unknown fault ${JSON.stringify(text)}; expected ${expected}`)
}

function partsOf(text: string): readonly string[] {
  const match = /(?:^|,)match=/.exec(text)
  if (match === null) return text.split(',')
  const before = text.slice(0, match.index)
  return [...(before === '' ? [] : before.split(',')), text.slice(match.index).replace(/^,/, '')]
}

function nameOf(part: string): string {
  return (part.split('=')[0] ?? '').replaceAll('-', '_')
}

function valueOf(part: string): unknown {
  const name = nameOf(part)
  const value = part.includes('=') ? part.slice(part.indexOf('=') + 1) : undefined
  if (FLAGS.includes(name)) return value === undefined || value === 'true'
  return NUMBERS.includes(name) && value !== undefined && /^\d+$/.test(value)
    ? Number(value)
    : (value ?? null)
}

/** The request that faults are looked up for. */
interface FaultTarget {
  /** Without its query. */
  readonly path?: string | undefined
  /** A fault with `match` concerns no request without a prompt. */
  readonly prompt?: string | undefined
  /** The request comes from no route that generates: only faults with its path concern it. */
  readonly isAside?: boolean | undefined
}

/** Faults to come, and how often each may still strike. */
export interface FaultBook {
  add(fault: Fault): void
  clear(): void
  /** Takes those of some kinds that concern a request, at most one of a kind, and counts them off their `times`. */
  take(kinds: readonly FaultKind[], target?: FaultTarget): ReadonlyMap<FaultKind, Fault>
}

function concerns(fault: Fault, { path, prompt, isAside }: FaultTarget): boolean {
  if (fault.match !== undefined && prompt?.includes(fault.match) !== true) return false
  return fault.path === undefined ? isAside !== true : fault.path === path
}

/** A book with some faults in it. */
export function createFaultBook(faults: readonly Fault[] = []): FaultBook {
  let entries: { readonly fault: Fault; left: number }[] = []
  const add = (fault: Fault): void => {
    entries.push({ fault, left: fault.times ?? Infinity })
  }
  faults.forEach(add)
  return {
    add,
    clear() {
      entries = []
    },
    take(kinds, target = {}) {
      const taken = new Map<FaultKind, Fault>()
      for (const entry of entries) {
        const { fault } = entry
        if (!kinds.includes(fault.kind) || taken.has(fault.kind) || !concerns(fault, target)) continue
        taken.set(fault.kind, fault)
        entry.left -= 1
      }
      entries = entries.filter(({ left }) => left > 0)
      return taken
    },
  }
}
