/** The value below which the part `p` (0 to 1) of the samples lies, by nearest rank; NaN for no samples. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const rank = Math.max(1, Math.ceil(p * sorted.length))
  return sorted[rank - 1] ?? Number.NaN
}

/** The middle sample, or the mean of the two in the middle; NaN for no samples. */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const half = sorted.length / 2
  const [low, high] = [sorted[Math.ceil(half) - 1], sorted[Math.floor(half)]]
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2
}

/** Keeps four significant digits: more would only be noise. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4))
}

/** The usual figures of a set of durations, each named `<name>_p50_ms` and so on. */
export function durations(name: string, samplesMs: readonly number[]): Record<string, number> {
  return {
    [`${name}_p50_ms`]: percentile(samplesMs, 0.5),
    [`${name}_p99_ms`]: percentile(samplesMs, 0.99),
    [`${name}_max_ms`]: percentile(samplesMs, 1),
  }
}
