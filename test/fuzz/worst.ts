import { PROCESSES } from './stage.ts'
import type { ProcessName } from './stage.ts'
import type { ShotName } from './violation.ts'

/** What a shot cost a process. */
interface Cost {
  readonly process: ProcessName
  readonly blockMs: number
  readonly peakBytes: number
  /** How long it took, its jobs included. */
  readonly ms: number
}

/** The costliest shots so far. */
export interface Worst {
  note(name: ShotName, cost: Cost): void
  /**
   * The worst first: for each process by turns the longest block and the highest memory, one shot of a generator.
   */
  ranked(): readonly (ShotName & Pick<Cost, 'process' | 'ms'>)[]
  /** By generator and process: how many shots, the longest block, the most memory. */
  table(): string
}

interface Entry extends ShotName, Cost {}

/** Remembers none yet. */
export function createWorst(): Worst {
  const longest = new Map<string, Entry>()
  const largest = new Map<string, Entry>()
  const counts = new Map<string, number>()
  return {
    note(name, cost) {
      const key = `${name.generator} ${cost.process}`
      const entry = { ...name, ...cost }
      counts.set(key, (counts.get(key) ?? 0) + 1)
      if (cost.blockMs > (longest.get(key)?.blockMs ?? -1)) longest.set(key, entry)
      if (cost.peakBytes > (largest.get(key)?.peakBytes ?? -1)) largest.set(key, entry)
    },
    ranked() {
      const lines = PROCESSES.flatMap((process) => [
        entriesOf(longest, process).toSorted((a, b) => b.blockMs - a.blockMs),
        entriesOf(largest, process).toSorted((a, b) => b.peakBytes - a.peakBytes),
      ])
      const [gatewayLongest = [], gatewayLargest = [], workerLongest = [], workerLargest = []] = lines
      const turns = [gatewayLongest, workerLongest, gatewayLargest, workerLargest]
      const most = Math.max(...turns.map(({ length }) => length))
      const ranked = Array.from({ length: most }, (_, rank) =>
        turns.flatMap((turn) => turn[rank] ?? []),
      ).flat()
      const seen = new Set<string>()
      return ranked.flatMap(({ generator, shot, process, ms }) => {
        const key = `${generator} ${shot} ${process}`
        if (seen.has(key)) return []
        seen.add(key)
        return [{ generator, shot, process, ms }]
      })
    },
    table() {
      const rows = [...longest].map(([key, { generator, process, blockMs }]) => {
        const peak = (largest.get(key)?.peakBytes ?? 0) / 2 ** 20
        return `${generator.padEnd(22)} ${process.padEnd(8)} ${String(counts.get(key)).padStart(6)} ${blockMs.toFixed(0).padStart(9)} ${peak.toFixed(0).padStart(9)}\n`
      })
      return `${'generator'.padEnd(22)} ${'process'.padEnd(8)} ${'shots'.padStart(6)} ${'block ms'.padStart(9)} ${'peak MiB'.padStart(9)}\n${rows.toSorted().join('')}`
    },
  }
}

function entriesOf(entries: ReadonlyMap<string, Entry>, process: ProcessName): Entry[] {
  return [...entries.values()].filter((entry) => entry.process === process)
}
