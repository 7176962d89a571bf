/** Loaded before the command: makes it believe that its stdin and stderr are terminals, so that it asks. */
Object.assign(process.stdin, { isTTY: true })
Object.assign(process.stderr, { isTTY: true, columns: 100, rows: 30 })
