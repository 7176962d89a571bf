import type { MemoryUse } from '../redis/memory.ts'

/** How much of Redis's memory is taken, seen from a process that adds jobs. */
export interface MemoryWatch {
  /** Reads Redis's memory unless it was read a moment ago. Send it together with other commands: it needs no round trip then. */
  refresh(): Promise<void>
  /** Reads it now. */
  read(): Promise<void>
  /** The last reading. Undefined where Redis has no limit. */
  use(): MemoryUse | undefined
  /**
   * Whether a job may be added without another reading. Processes do not see each other's jobs between readings, so each takes
   * at most a quarter of the room that it saw.
   *
   * @param limit how much may be used (bytes).
   */
  hasRoom(bytes: number, limit: number): boolean
  /** Counts what a piece of work adds from now on (bytes). */
  count<T>(bytes: number, work: () => Promise<T>): Promise<T>
}

/** How long a reading serves (ms). */
const FRESH_MS = 250
/** The part of the room that is taken after one reading. */
const SHARE = 0.25

/** Watches one server. */
export function watchMemory(ask: () => Promise<MemoryUse | undefined>): MemoryWatch {
  let seen: MemoryUse | undefined
  /** What had been added when the last reading was sent. */
  let addedBefore = 0
  let added = 0
  let underWay = 0
  let readAt = -Infinity
  let reading: Promise<void> | undefined

  async function read(): Promise<void> {
    const sent = { at: performance.now(), added }
    const use = await ask()
    if (sent.at < readAt) return
    seen = use
    addedBefore = sent.added
    readAt = sent.at
  }

  return {
    async refresh() {
      if (performance.now() - readAt < FRESH_MS) return
      reading ??= read().finally(() => {
        reading = undefined
      })
      await reading
    },
    read,
    use: () => seen,
    hasRoom(bytes, limit) {
      if (seen === undefined) return true
      return added - addedBefore + underWay + bytes <= (limit - seen.used) * SHARE
    },
    async count(bytes, work) {
      underWay += bytes
      try {
        const result = await work()
        added += bytes
        return result
      } finally {
        underWay -= bytes
      }
    },
  }
}
