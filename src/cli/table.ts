import { outCell } from './print.ts'

/**
 * Formats rows as aligned columns. The first call includes the head; later calls keep at least the widths of earlier ones. Cells are
 * escaped for standard output.
 */
export function createTable(head: readonly string[]): (rows: readonly (readonly string[])[]) => string {
  let widths = head.map(({ length }) => length)
  let isFirst = true
  return (rows) => {
    const cells = rows.map((row) => row.map(outCell))
    widths = widths.map((width, column) => Math.max(width, ...cells.map((row) => row[column]?.length ?? 0)))
    const lines = isFirst ? [head, ...cells] : cells
    isFirst = false
    const pad = (cell: string, column: number) => cell.padEnd(widths[column] ?? 0)
    return lines.map((row) => `${row.map(pad).join('  ').trimEnd()}\n`).join('')
  }
}
