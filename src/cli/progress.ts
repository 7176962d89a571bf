import { SingleBar } from 'cli-progress'
import { statInput } from '../batch/job-lines.ts'
import { terminalLine } from '../runtime/terminal.ts'

/** How far a long command is. */
interface Progress {
  update(bytes: number, accepted: number): void
  stop(accepted: number): void
}

/** A bar on a terminal, nothing elsewhere. Counts bytes of the file, or only jobs if it is a pipe of unknown length. */
export async function startProgress(file: string): Promise<Progress> {
  const size = file === '-' ? undefined : (await statInput(file, '--file')).size
  if (!process.stderr.isTTY) return { update: () => undefined, stop: () => undefined }
  const format =
    size === undefined
      ? 'enqueued {accepted} jobs'
      : '{bar} {percentage}% | {accepted} jobs | {eta_formatted} left'
  const bar = new SingleBar({
    format,
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: false,
    fps: 10,
  })
  bar.start(size ?? 1, 0, { accepted: 0 })
  let done = 0
  return {
    update(bytes, accepted) {
      done += bytes
      bar.update(size === undefined ? 0 : Math.min(done, size), { accepted })
    },
    stop(accepted) {
      bar.update(size ?? 1, { accepted })
      bar.stop()
    },
  }
}

/** What a command waits for. */
interface Waiting {
  /** How much is left. */
  update(left: number): void
  stop(): void
}

/** A line on a terminal with the number left and the time waited; nothing elsewhere. */
export function startWaiting(what: string): Waiting {
  if (!process.stderr.isTTY) return { update: () => undefined, stop: () => undefined }
  const bar = new SingleBar({
    format: `${terminalLine(what)}: {left} ({duration_formatted})`,
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
    fps: 10,
  })
  bar.start(1, 0, { left: '?' })
  return { update: (left) => bar.update(0, { left }), stop: () => bar.stop() }
}

/** A line on a terminal that is updated in place. */
interface StatusLine {
  show(text: string): void
  /** Erases it. */
  stop(): void
}

/** Shows a line on stderr, which must be a terminal, with the time since the start. */
export function startStatusLine(text: string): StatusLine {
  const bar = new SingleBar({
    format: '{text} ({duration_formatted})',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
    fps: 10,
  })
  bar.start(1, 0, { text: terminalLine(text) })
  return { show: (next) => bar.update(0, { text: terminalLine(next) }), stop: () => bar.stop() }
}
