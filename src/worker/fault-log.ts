import type { Logger } from '../runtime/log.ts'

/** How often the same fault is logged (ms). */
const REPEAT_MS = 10_000

/**
 * Logs faults that repeat, e.g. while Redis is unreachable: the first at once, then one line in ten seconds with the count.
 */
export function createFaultLog(logger: Logger): (what: string, error: unknown) => void {
  const seen = new Map<string, { at: number; unlogged: number }>()
  return (what, error) => {
    const message = error instanceof Error ? error.message : String(error)
    const key = `${what}: ${message.slice(0, 200)}`
    const entry = seen.get(key)
    const now = performance.now()
    if (entry !== undefined && now - entry.at < REPEAT_MS) {
      entry.unlogged += 1
      return
    }
    logger.warn({ err: error, again: entry?.unlogged }, what)
    if (seen.size > 200) seen.clear()
    seen.set(key, { at: now, unlogged: 0 })
  }
}
