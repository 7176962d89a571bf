import { createInterface } from 'node:readline'
import { err } from './print.ts'

/** Whether a person can answer: stdin and stderr are terminals. */
export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY
}

/** Asks on stderr. Resolves to the typed line, trimmed; empty if the input ends. */
export async function ask(question: string, signal: AbortSignal): Promise<string> {
  err(`${question} `)
  // With `terminal: false` the terminal driver edits the line and turns Ctrl-C into a signal.
  const lines = createInterface({ input: process.stdin, terminal: false })
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const onAbort = () => reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  lines.once('line', resolve).once('close', () => resolve(''))
  try {
    signal.throwIfAborted()
    return (await promise).trim()
  } catch (error) {
    // The cursor is still on the question's line.
    err('\n')
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    lines.close()
  }
}
