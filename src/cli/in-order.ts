/**
 * Works on at most `limit` items at once and yields the results in the order of the items. At most `limit` results are buffered,
 * however many items there are.
 *
 * @throws the error of the work at once; the error of reading the items after the results of the items before it.
 */
export async function* inOrder<T, R>(
  items: AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const window: Promise<R>[] = []
  const first = (): Promise<R> => window.shift() as Promise<R>
  let failure: { readonly error: unknown } | undefined
  const failed = (error: unknown) => {
    failure = { error }
  }
  for await (const item of untilFailure(items, failed)) {
    const result = work(item)
    // Avoids an unhandled rejection; the error is thrown when the result is awaited.
    result.catch(() => undefined)
    window.push(result)
    if (window.length >= limit) yield await first()
  }
  while (window.length > 0) yield await first()
  if (failure !== undefined) throw failure.error
}

async function* untilFailure<T>(
  items: AsyncIterable<T>,
  onFailure: (error: unknown) => void,
): AsyncGenerator<T> {
  try {
    yield* items
  } catch (error) {
    onFailure(error)
  }
}
