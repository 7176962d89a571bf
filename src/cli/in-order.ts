/**
 * Works on items, at most `limit` at once, and yields the results in the order of the items, whatever the number of items: no more
 * than `limit` results wait.
 *
 * @throws what the work throws, at once; what reading the items throws, after the results of those before.
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
    // It is awaited in its turn.
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
