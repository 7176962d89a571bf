/** All that the command prints: as it is into a pipe or a file, fit for a terminal ({@link terminalText}) on one. */
import { createTerminalText, terminalLine } from '../runtime/terminal.ts'

const outText = createTerminalText()
const errText = createTerminalText()

/** Prints a text, or a piece of one, on stdout. */
export function out(text: string): void {
  process.stdout.write(process.stdout.isTTY ? outText(text) : text)
}

/** Prints a text on stderr. */
export function err(text: string): void {
  process.stderr.write(process.stderr.isTTY ? errText(text) : text)
}

/** Prints one line on stdout: on a terminal, a newline inside it does not make another one. */
export function outLine(line: string): void {
  out(`${outCell(line)}\n`)
}

/** Prints one line on stderr. */
export function errLine(line: string): void {
  err(`${process.stderr.isTTY ? terminalLine(line) : line}\n`)
}

/** A part of a line on stdout, as long as it will be there. */
export function outCell(text: string): string {
  return process.stdout.isTTY ? terminalLine(text) : text
}
