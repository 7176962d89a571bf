import { escapeHtml } from '../http/page.ts'

/** Renders the subset of Markdown that the document uses (paragraphs, `## headings`, tables, `code`, **bold**) as HTML. */
export function renderMarkdown(text: string): string {
  return text
    .split(/\n{2,}/)
    .filter((block) => block.trim() !== '')
    .map(renderBlock)
    .join('\n')
}

function renderBlock(block: string): string {
  const heading = /^## (.+)$/.exec(block)?.[1]
  if (heading !== undefined) return `<h2 id="${anchorOf(heading)}">${renderInline(heading)}</h2>`
  if (block.startsWith('| ')) return renderMarkdownTable(block.split('\n'))
  return `<p>${renderInline(block)}</p>`
}

function renderMarkdownTable([head = '', , ...rows]: readonly string[]): string {
  return renderTable(cellsOf(head), rows.map(cellsOf))
}

function cellsOf(row: string): string[] {
  return row
    .split('|')
    .slice(1, -1)
    .map((cell) => renderInline(cell.trim()))
}

/** A table of HTML cells; empty if it has no rows. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return ''
  return `<table>${renderRow(head, 'th')}\n${rows.map((row) => renderRow(row, 'td')).join('\n')}</table>`
}

function renderRow(cells: readonly string[], tag: string): string {
  return `<tr>${cells.map((cell) => `<${tag}>${cell}`).join('')}`
}

/** A line with `code` and **bold** in it. */
export function renderInline(text: string): string {
  return escapeHtml(text)
    .replaceAll(/`([^`]+)`/g, '<code>$1</code>')
    .replaceAll(/\*\*([^*]+)\*\*/g, '<b>$1</b>')
}

/** The id of a heading. */
export function anchorOf(heading: string): string {
  return heading.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
}
