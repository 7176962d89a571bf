import { onEndSignals } from '../runtime/signals.ts'
import { EXIT, Exit } from './exit.ts'

/**
 * Runs work that Ctrl-C may end: its signal aborts, and the command ends with status 130 once `onInterrupt` is done.
 * A second Ctrl-C ends it at once.
 */
export async function withInterrupt<T>(
  work: (signal: AbortSignal) => Promise<T>,
  onInterrupt: () => Promise<void> = async () => undefined,
): Promise<T> {
  const controller = new AbortController()
  const stopListening = onEndSignals({
    onFirst: () => controller.abort(new Exit(EXIT.interrupted)),
    onSecond: () => process.exit(EXIT.interrupted),
  })
  try {
    return await work(controller.signal)
  } catch (error) {
    if (controller.signal.aborted) await onInterrupt()
    throw error
  } finally {
    stopListening()
  }
}
