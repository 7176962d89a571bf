import type { Output, Recording } from './record.ts'

/** Columns of a terminal, and the size of one character (px). */
const [COLUMNS, CHARACTER, LINE] = [84, 8, 18]
const [PADDING, HEAD] = [18, 30]
const WIDTH = COLUMNS * CHARACTER + 2 * PADDING

/** How long the last state stays before the animation restarts (ms). */
const REST_MS = 6000

/** Colors on the terminals' own background, so that light and dark pages look the same; all above 7:1 (WCAG 2.2, 1.4.6). */
const COLOURS = {
  typed: '#f0f6fc',
  note: '#ffa198',
  printed: '#b1bac4',
  'attempt-1': '#79c0ff',
  'attempt-2': '#7ee787',
} as const

const TITLES = { user: 'a user', operator: 'an operator' } as const

/** A positioned piece of text. */
interface Piece {
  readonly at: number
  readonly row: number
  readonly column: number
  readonly kind: Output['kind'] | 'prompt'
  readonly text: string
}

/**
 * Draws a recording as an SVG whose animation loops. The same recording gives the same picture. Without animation, and for readers
 * who prefer reduced motion, it shows the last state.
 */
export function draw(recording: Recording): string {
  const { output } = recording
  const panes = (['user', 'operator'] as const).map((terminal) => ({
    terminal,
    ...layOut(output.filter((each) => each.terminal === terminal)),
  }))
  const duration = Math.max(...output.map(({ at }) => at)) + REST_MS
  const times = [...new Set(panes.flatMap(({ pieces }) => pieces.map(({ at }) => at)))].toSorted(
    (a, b) => a - b,
  )
  const name = new Map<number, string>(times.map((at, index) => [at, `t${index.toString(36)}`]))
  let top = 0
  const bodies = panes.map(({ terminal, pieces, rows }) => {
    const height = HEAD + rows * LINE + PADDING
    const lines = pieces.map((piece) => drawPiece(piece, top + HEAD + LINE, name.get(piece.at) ?? ''))
    const legend = terminal === 'user' ? drawLegend(recording, top + HEAD - 10, name) : []
    const body = [frame(top, height, TITLES[terminal]), ...legend, ...lines].join('\n')
    top += height + 12
    return body
  })
  const rules = times.map((at) => {
    const percent = ((at / duration) * 100).toFixed(2)
    const id = name.get(at) ?? ''
    return `.${id}{animation-name:${id}}@keyframes ${id}{0%{opacity:0}${percent}%{opacity:1}}`
  })
  const height = top - 12
  return `<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="t d">
<title id="t">A worker is killed in the middle of an answer, and the answer goes on</title>
<desc id="d">${escape(describe(recording))}</desc>
<style>
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;white-space:pre}
.x{animation:${duration}ms step-end infinite}
${Object.entries(COLOURS)
  .map(([kind, colour]) => `.${kind}{fill:${colour}}`)
  .join('')}.prompt,.head{fill:#8b949e}
${rules.join('\n')}
@media (prefers-reduced-motion:reduce){.x{animation:none}}
</style>
${bodies.join('\n')}
</svg>
`
}

function describe({ output, attempts }: Recording): string {
  const [first, second] = attempts.map(({ replica }) => replica)
  const killed = output.find(({ text }) => text.startsWith('kill -9'))?.at ?? 0
  const gap = (((attempts[1]?.at ?? 0) - killed) / 1000).toFixed(1)
  return `Two terminals, recorded from a real run. A user runs tgi-pool generate, and text streams from replica ${first}. An operator kills the worker of ${first} with kill -9. ${gap} s later the same answer continues on ${second}, in another color, and completes.`
}

/** From which replica the text of each attempt comes, in the text's color, from its first token on. */
function drawLegend({ output, attempts }: Recording, y: number, name: ReadonlyMap<number, string>): string[] {
  return attempts.flatMap(({ replica }, index) => {
    const kind = `attempt-${index + 1}`
    const first = output.find((each) => each.kind === kind)
    if (first === undefined) return []
    const label = `from ${replica}`
    const x = WIDTH - PADDING + (2 - (attempts.length - index) * (label.length + 2)) * CHARACTER
    return [`<text class="x ${kind} ${name.get(first.at)}" x="${x}" y="${y}">${escape(label)}</text>`]
  })
}

/** Lays out output in rows and columns, as a terminal does. */
function layOut(output: readonly Output[]): { readonly pieces: Piece[]; readonly rows: number } {
  const pieces: Piece[] = []
  let [row, column] = [0, 0]
  const put = (at: number, kind: Piece['kind'], text: string) => {
    for (const word of wrapsWords(kind) ? text.split(/(?<=\s)|(?=\s)/) : [text]) {
      for (const [index, line] of word.split('\n').entries()) {
        if (index > 0) [row, column] = [row + 1, 0]
        if (column + line.length > COLUMNS && wrapsWords(kind)) [row, column] = [row + 1, 0]
        if (column === 0 && wrapsWords(kind) && line.trim() === '') continue
        const cut = cutToFit(line, COLUMNS - column)
        if (cut.trim() !== '') pieces.push({ at, row, column, kind, text: cut })
        column += cut.length
      }
    }
  }
  for (const { at, kind, text } of output) {
    if (kind === 'typed') {
      if (column > 0) [row, column] = [row + 1, 0]
      put(at, 'prompt', '$ ')
    }
    put(at, kind, kind === 'note' ? `  # ${text}` : text)
    if (kind === 'typed' && !isNoteNext(output, at)) [row, column] = [row + 1, 0]
  }
  return { pieces: joinPieces(pieces), rows: row + (column > 0 ? 1 : 0) }
}

/** Drops the columns of a table that do not fit. */
function cutToFit(line: string, length: number): string {
  return line.length <= length ? line : `${line.slice(0, length - 2).replace(/ {2,}\S*$/, '')} …`
}

/** Wraps the answer between words; cuts table columns at the edge. */
function wrapsWords(kind: Piece['kind']): boolean {
  return kind === 'attempt-1' || kind === 'attempt-2'
}

function isNoteNext(output: readonly Output[], at: number): boolean {
  return output.some((each) => each.kind === 'note' && each.at >= at && each.at <= at + 1)
}

/** Joins adjacent pieces that appear at the same time. */
function joinPieces(pieces: readonly Piece[]): Piece[] {
  const joined: Piece[] = []
  for (const piece of pieces) {
    const last = joined.at(-1)
    const gap = last === undefined ? -1 : piece.column - last.column - last.text.length
    if (
      last !== undefined &&
      last.at === piece.at &&
      last.row === piece.row &&
      last.kind === piece.kind &&
      gap >= 0
    )
      joined[joined.length - 1] = { ...last, text: last.text + ' '.repeat(gap) + piece.text }
    else joined.push(piece)
  }
  return joined
}

function frame(top: number, height: number, title: string): string {
  return `<rect x=".5" y="${top + 0.5}" width="${WIDTH - 1}" height="${height - 1}" rx="8" fill="#0d1117" stroke="#30363d"/>
<text class="head" x="${PADDING}" y="${top + 20}">${title}</text>`
}

/** Draws a piece exactly as wide as its columns, whatever the font. */
function drawPiece({ row, column, kind, text }: Piece, top: number, name: string): string {
  const begins = text.length - text.trimStart().length
  const shown = text.trim()
  const [x, y] = [PADDING + (column + begins) * CHARACTER, top + row * LINE]
  return `<text class="x ${kind} ${name}" x="${x}" y="${y}" textLength="${shown.length * CHARACTER}">${escape(shown)}</text>`
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
