/** A second signal that comes sooner is the same wish: under npm one Ctrl-C arrives twice within 2 ms. */
const SAME_WISH_MS = 500

/** What a process that was asked to end does. */
export interface EndHandlers {
  /** The first SIGTERM or SIGINT. */
  readonly onFirst: (signal: NodeJS.Signals) => void
  /** One that comes more than half a second later: now. */
  readonly onSecond: (signal: NodeJS.Signals) => void
}

/** Listens for SIGTERM and SIGINT; returns a function that stops listening. */
export function onEndSignals(handlers: EndHandlers): () => void {
  let first: number | undefined
  const handle = (signal: NodeJS.Signals) => {
    const now = performance.now()
    if (first === undefined) {
      first = now
      handlers.onFirst(signal)
    } else if (now - first > SAME_WISH_MS) {
      handlers.onSecond(signal)
    }
  }
  process.on('SIGTERM', handle)
  process.on('SIGINT', handle)
  return () => {
    process.off('SIGTERM', handle)
    process.off('SIGINT', handle)
  }
}
