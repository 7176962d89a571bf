import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Reads a page by its path from the checkout's root. */
export function readPage(path: string): Promise<string> {
  return readFile(join(ROOT, path), 'utf8')
}

/** A row of a table: its cells by the table's headings. */
type Row = Readonly<Record<string, string>>

/** The rows of a page's tables with a heading, in order. */
export function rowsWith(markdown: string, heading: string): Row[] {
  const rows: Row[] = []
  let head: readonly string[] | undefined
  for (const line of markdown.split('\n')) {
    if (!line.startsWith('|')) head = undefined
    else if (head === undefined) head = cellsOf(line)
    else if (head.includes(heading) && !/^\|[-:|]+$/.test(line)) {
      const cells = cellsOf(line)
      rows.push(Object.fromEntries(head.map((name, index) => [name, cells[index] ?? ''])))
    }
  }
  return rows
}

function cellsOf(line: string): string[] {
  return line
    .replace(/^\|/, '')
    .replace(/\|$/, '')
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll(String.raw`\|`, '|'))
}

/** What stands in code in a text, in order. */
export function codesIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)
}

/** A page without its code blocks. */
export function withoutBlocks(markdown: string): string {
  return markdown.replaceAll(/^( *)(`{3,})[^\n]*\n[^]*?^ *\2 *$/gm, '')
}

/** The anchors of a page, as GitHub makes them of its headings. */
export function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of withoutBlocks(markdown).matchAll(/^#{1,6} +(.+)$/gm)) {
    const text = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll('\\', '')
    const slug = text
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, '')
      .replaceAll(' ', '-')
    let anchor = slug
    for (let n = 1; anchors.has(anchor); n += 1) anchor = `${slug}-${n}`
    anchors.add(anchor)
  }
  return anchors
}
