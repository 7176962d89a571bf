import type { TgiClient } from '../tgi/client.ts'

/** A client that watches its generations until their first tokens. */
export interface Prefills {
  /** The same client. */
  readonly client: TgiClient
  /**
   * Whether, later than `since` (performance.now()), a request waited for its first token or was aborted during that wait: TGI
   * finishes even an abandoned prefill before it does anything else. Neither counts for longer than a first token may take.
   */
  isPrefilling(since: number): boolean
}

/** Watches a client's generations. @param boundMs how long a first token may take. */
export function watchPrefills(client: TgiClient, boundMs: () => number): Prefills {
  const open = new Set<{ readonly startedAt: number }>()
  let aborted = { startedAt: -Infinity, endedAt: -Infinity }
  const inTime = (startedAt: number) => performance.now() - startedAt < boundMs()

  return {
    client: {
      ...client,
      generate(request, options) {
        const prefill = { startedAt: performance.now() }
        open.add(prefill)
        let waits = true
        const generation = client.generate(request, {
          ...options,
          onToken(token) {
            if (waits) open.delete(prefill)
            waits = false
            options.onToken(token)
          },
        })
        const over = () => {
          open.delete(prefill)
          if (waits && options.signal.aborted) aborted = { ...prefill, endedAt: performance.now() }
        }
        generation.done.then(over, over)
        return generation
      },
    },
    isPrefilling: (since) =>
      [...open].some(({ startedAt }) => inTime(startedAt)) ||
      (aborted.endedAt > since && inTime(aborted.startedAt)),
  }
}
