/** Loaded before the command: makes it believe that its stdin and stderr are terminals, so that it asks. */
import './as-terminal.ts'

Object.assign(process.stdin, { isTTY: true })
