import { escapeHtml } from '../http/page.ts'

/** The part of Markdown that the document uses (paragraphs, `## headings`, tables, `code`, **bold**) as HTML. */
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
  const cells = (row: string) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => renderInline(cell.trim()))
  return renderTable(cells(head), rows.map(cells))
}

/** A table of cells that are HTML; nothing if it has no rows. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return ''
  const line = (row: readonly string[], tag: string) => `<tr>${row.map((cell) => `<${tag}>${cell}`).join('')}`
  return `<table>${line(head, 'th')}\n${rows.map((row) => line(row, 'td')).join('\n')}</table>`
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
