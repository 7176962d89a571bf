import { createWriteStream } from 'node:fs'

/** Where a run writes down what it does, for reading it again and for the table. */
export interface Journal {
  /** Writes one line: what was done, and since when (ms since the start). */
  write(what: string, details?: Readonly<Record<string, unknown>>): void
  /** Counts a fault that was caused. */
  countFault(kind: string): void
  readonly faults: ReadonlyMap<string, number>
  close(): Promise<void>
}

/** Told of every process that is started. */
export type OnProcess = (name: string, pid: number | undefined) => void

/** A journal in a file of JSON lines. */
export function openJournal(path: string): Journal {
  const file = createWriteStream(path)
  const startedAt = performance.now()
  const faults = new Map<string, number>()
  return {
    write(what, details) {
      // A fault may be over after the run is.
      if (file.writableEnded) return
      file.write(
        `${JSON.stringify({ at_ms: Math.round(performance.now() - startedAt), what, ...details })}\n`,
      )
    },
    countFault: (kind) => void faults.set(kind, (faults.get(kind) ?? 0) + 1),
    faults,
    close: () => new Promise((resolve) => file.end(() => resolve())),
  }
}
