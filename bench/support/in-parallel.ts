/** Runs `task` for 0, 1, … `count` - 1, at most `width` at once; resolves when all are done, throws what one threw. */
export async function inParallel(
  count: number,
  width: number,
  task: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  async function lane(): Promise<void> {
    while (next < count) {
      next += 1
      await task(next - 1)
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane))
}
