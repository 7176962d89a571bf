import { onEndSignals } from '../runtime/signals.ts'
import { EXIT, Exit } from './exit.ts'

/**
 * Runs work that can be interrupted: Ctrl-C and SIGTERM end it with status 130, a reader that closes our stdout (`| head`) with 0.
 * Aborts the signal, calls `onInterrupt`, and only then ends the command. A second Ctrl-C ends it at once.
 */
export async function withInterrupt<T>(
  work: (signal: AbortSignal) => Promise<T>,
  onInterrupt: (exit: Exit) => Promise<void> = async () => undefined,
): Promise<T> {
  const controller = new AbortController()
  const stopListening = onEndSignals({
    onFirst: () => controller.abort(new Exit(EXIT.interrupted)),
    onSecond: () => process.exit(EXIT.interrupted),
  })
  const onClosed = () => controller.abort(new Exit(EXIT.success))
  process.stdout.on('error', onClosed)
  try {
    return await work(controller.signal)
  } catch (error) {
    if (error instanceof Exit && error === controller.signal.reason) await onInterrupt(error)
    throw error
  } finally {
    process.stdout.off('error', onClosed)
    // The same Ctrl-C may come once more on the way out, and must not end it with a signal's status.
    if (!controller.signal.aborted) stopListening()
  }
}
