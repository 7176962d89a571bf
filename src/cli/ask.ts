import { createInterface } from 'node:readline'
import { err } from './print.ts'

/** Whether a person can answer: input and stderr are terminals. */
export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY
}

/** Asks on stderr. Resolves to the line that is typed, without white space around it; empty if the input ends. */
export async function ask(question: string, signal: AbortSignal): Promise<string> {
  err(`${question} `)
  // The terminal itself edits the line, and makes a signal of Ctrl-C.
  const lines = createInterface({ input: process.stdin, terminal: false })
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const onAbort = () => reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  lines.once('line', resolve).once('close', () => resolve(''))
  try {
    signal.throwIfAborted()
    return (await promise).trim()
  } catch (error) {
    // The question is still on the line.
    err('\n')
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    lines.close()
  }
}
