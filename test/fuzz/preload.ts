/**
 * Loaded into a process with `--import` and `--expose-gc`: measures its event loop and answers its parent over IPC.
 *
 * A block is the time between two ticks of a timer. Beside the time that passed, it has the time that this thread ran: on a busy
 * machine a process also waits for a processor, and that is no fault of a request.
 */
import type { MeasureMessage, Measurement } from './measured-process.ts'

const TICK_MS = 5

interface Look {
  readonly wallMs: number
  readonly cpuMs: number
}

function look(): Look {
  const { user, system } = process.threadCpuUsage()
  return { wallMs: performance.now(), cpuMs: (user + system) / 1000 }
}

let last = look()
let longest: Look = { wallMs: 0, cpuMs: 0 }

function tick(): void {
  const now = look()
  longest = {
    wallMs: Math.max(longest.wallMs, now.wallMs - last.wallMs),
    cpuMs: Math.max(longest.cpuMs, now.cpuMs - last.cpuMs),
  }
  last = now
}

setInterval(tick, TICK_MS).unref()

process.on('message', ({ collect, id }: MeasureMessage) => {
  tick()
  const { wallMs, cpuMs } = longest
  if (collect) {
    // Twice: what finalizers let go of is collected by the second.
    for (let time = 0; time < 2; time += 1)
      globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  const answer: Measurement = {
    id,
    blockMs: cpuMs,
    wallMs,
    residentBytes: rss,
    heldBytes: heapUsed + external,
  }
  longest = { wallMs: 0, cpuMs: 0 }
  last = look()
  process.send?.(answer)
})
process.on('disconnect', () => process.exit(1))
// The program ends when its own work does.
process.channel?.unref()
