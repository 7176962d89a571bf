/**
 * The HASH `counters` of a pool: whole numbers that only grow. The script that writes an event also adds to it, so each job
 * counts exactly once, whichever process dies.
 *
 * | field | what | added by the write of |
 * |---|---|---|
 * | `queued:<priority>` | jobs accepted | `queued` |
 * | `started:<priority>` | jobs begun | the first `started` |
 * | `jobs:<outcome>:<code>` | jobs that are over: `ended` (no code), `failed`, `cancelled` | `end`, `error` |
 * | `tokens:in`, `tokens:out` | prompt tokens (known for `ended` jobs only), and tokens published | `end`, `error` |
 * | `queue_time:<priority>:<bound>` | jobs whose wait was at most this bound (s) and above the one before | the first `started` |
 * | `first_token:<priority>:<bound>`, `duration:<priority>:<bound>` | the same for acceptance → first, last token | `end` |
 * | `<histogram>:<priority>:sum` | the sum of what was observed (ms) | as its buckets |
 *
 * `<priority>` is empty if the writer does not know it.
 */
import type { Priority } from './job.ts'

/** The histograms, by the name in the fields. */
export const HISTOGRAMS = ['queue_time', 'first_token', 'duration'] as const

/** A histogram's name in the fields. */
export type HistogramName = (typeof HISTOGRAMS)[number]

/** The last bucket, without an upper bound. */
export const INFINITE_BOUND = '+Inf'

// vLLM's bounds (v1/metrics/buckets.py), so that one dashboard serves both, and more, since a batch job may wait for a day.
const FIRST_TOKEN_BOUNDS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
  2560, 10_240, 43_200, 86_400,
]
const JOB_BOUNDS = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680, 21_600,
  43_200, 86_400,
]

/** The upper bounds of each histogram's buckets, ascending (s); above the last there is {@link INFINITE_BOUND}. */
export const BOUNDS: Readonly<Record<HistogramName, readonly number[]>> = {
  queue_time: JOB_BOUNDS,
  first_token: FIRST_TOKEN_BOUNDS,
  duration: JOB_BOUNDS,
}

/** A priority, or empty if the writer does not know it. */
export type KnownPriority = Priority | ''

/** The fields of the HASH. */
export const counterFields = {
  queued: (priority: KnownPriority) => `queued:${priority}`,
  started: (priority: KnownPriority) => `started:${priority}`,
  jobs: (outcome: string, code: string) => `jobs:${outcome}:${code}`,
  tokens: (direction: 'in' | 'out') => `tokens:${direction}`,
  bucket: (name: HistogramName, priority: KnownPriority, bound: string) => `${name}:${priority}:${bound}`,
  sum: (name: HistogramName, priority: KnownPriority) => `${name}:${priority}:sum`,
}

/** The bucket of an observation (ms). */
export function boundOf(name: HistogramName, ms: number): string {
  return String(BOUNDS[name].find((bound) => ms <= bound * 1000) ?? INFINITE_BOUND)
}
