/**
 * A generator that can be left while it waits: `return` of a plain one is heard only when what it waits for has come,
 * which for the events of a job that waits may be never.
 *
 * @param leave ends the waiting, by whatever way the generator has; what it throws then is ignored.
 */
export function leavable<T>(
  generator: AsyncGenerator<T, void, undefined>,
  leave: () => void,
): AsyncGenerator<T, void, undefined> {
  let left = false
  const over = { done: true, value: undefined } as const
  async function away(): Promise<IteratorReturnResult<void>> {
    left = true
    leave()
    await generator.return().catch(() => undefined)
    return over
  }
  return {
    async next() {
      try {
        return await generator.next()
      } catch (error) {
        if (left) return over
        throw error
      }
    },
    return: away,
    async throw(error: unknown) {
      await away()
      throw error
    },
    async [Symbol.asyncDispose]() {
      await away()
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
