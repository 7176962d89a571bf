/** A watch over the gaps between tokens. */
export interface Silence {
  /** A token has come; the next gap begins. */
  progress(): void
  /** Time stands still. */
  pause(): void
  /** Time goes on where it stood. */
  resume(): void
  /** Ends the watch. */
  stop(): void
}

/** How long a silence may be, and who hears that it was longer. */
export interface SilenceOptions {
  readonly firstTokenTimeoutMs: number
  readonly tokenTimeoutMs: number
  /** Called once at most; `first`: not even one token came. */
  readonly onSilent: (first: boolean) => void
  /**
   * A clock that never goes back, in ms.
   * @defaultValue `performance.now`
   */
  readonly now?: (() => number) | undefined
}

/** The longest that Node's timers can wait (2^31 - 1 ms); beyond it they fire at once. */
const MAX_TIMER_MS = 2_147_483_647

/**
 * Starts to watch, with the limit for the first token. A token costs one look at the clock: the timer is not moved,
 * it looks for itself how long the gap is when it fires.
 */
export function watchSilence(options: SilenceOptions): Silence {
  const now = options.now ?? (() => performance.now())
  let first = true
  let since = now()
  let heldMs: number | undefined
  let timer: NodeJS.Timeout | undefined
  let immediate: NodeJS.Immediate | undefined

  const leftMs = () => (first ? options.firstTokenTimeoutMs : options.tokenTimeoutMs) - (now() - since)

  function arm(): void {
    timer = setTimeout(check, Math.min(Math.max(leftMs(), 1), MAX_TIMER_MS))
  }
  function check(): void {
    if (leftMs() > 0) return arm()
    // A process that was frozen finds its timers due before it has read the tokens that wait in its sockets.
    immediate = setImmediate(() => (leftMs() > 0 ? arm() : options.onSilent(first)))
  }
  function stop(): void {
    clearTimeout(timer)
    clearImmediate(immediate)
  }

  arm()
  return {
    progress() {
      since = now()
      if (heldMs !== undefined) heldMs = 0
      if (!first) return
      first = false
      if (heldMs !== undefined) return
      stop()
      arm()
    },
    pause() {
      if (heldMs !== undefined) return
      heldMs = now() - since
      stop()
    },
    resume() {
      if (heldMs === undefined) return
      since = now() - heldMs
      heldMs = undefined
      arm()
    },
    stop,
  }
}
