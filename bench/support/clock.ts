/** Milliseconds of a clock that never goes back and that all processes of the machine share (Linux: CLOCK_MONOTONIC). */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** What has to be added to this process's `performance.now()` to get {@link monotonicMs}; it stays the same for life. */
export function monotonicOffsetMs(): number {
  return monotonicMs() - performance.now()
}
