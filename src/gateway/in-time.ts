import { PoolError } from '../contract/error.ts'

/**
 * Bounds what Redis may take for a call, so that a frozen Redis is reported within seconds.
 *
 * @throws {@link PoolError} `REDIS_UNAVAILABLE` when it is late.
 */
export async function inTime<T>(ms: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const timer = setTimeout(() => {
    controller.abort(
      new PoolError(
        'REDIS_UNAVAILABLE',
        `Redis did not answer within ${ms} ms; the operation may still take effect`,
      ),
    )
  }, ms)
  try {
    return await work(controller.signal)
  } finally {
    clearTimeout(timer)
  }
}
