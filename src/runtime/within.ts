/**
 * Waits for work, but no longer than `ms`.
 *
 * @returns whether it was done in time. Its failure counts as done; who needs the result awaits the work itself.
 */
export async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<false>()
  const timer = setTimeout(() => resolve(false), ms)
  try {
    return await Promise.race([work.then(settled, settled), late])
  } finally {
    clearTimeout(timer)
  }
}

function settled(): true {
  return true
}
