/** Loaded before the command: makes it believe that its stderr is a terminal of 100 columns, on any machine. */
Object.assign(process.stderr, { isTTY: true, columns: 100, rows: 30 })
