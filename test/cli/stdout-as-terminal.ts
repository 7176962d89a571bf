/** Loaded before the command: makes it believe that its stdout is a terminal. */
Object.assign(process.stdout, { isTTY: true })
