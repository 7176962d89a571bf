/**
 * Plots as SVG, drawn here since two shapes are all it takes. The colours stand out on white and on black alike: at least
 * 3:1 for shapes and 4.5:1 for text (WCAG 2.2, 1.4.3 and 1.4.11).
 */

/** Values of one kind, one for each name on the other axis. */
interface Series {
  readonly name: string
  readonly values: readonly number[]
}

/** What every plot has. */
export interface PlotOptions {
  readonly title: string
  /** Of the values, with its unit. */
  readonly valueLabel: string
  readonly series: readonly Series[]
}

const INK = '#767676'
const COLOURS = ['#3b7dd8', '#c2622d', '#3a8f5c', '#8a63c9']
const [WIDTH, LEFT, RIGHT, TOP, BOTTOM] = [720, 150, 70, 64, 44]
const BAR = 16

/** Horizontal bars: a group for each label, a bar in it for each series. */
export function barPlot(options: PlotOptions & { readonly labels: readonly string[] }): string {
  const { labels, series } = options
  const group = series.length * BAR + 14
  const height = TOP + labels.length * group + BOTTOM
  const ticks = ticksFor(series)
  const x = (value: number) => LEFT + (value / (ticks.at(-1) ?? 1)) * (WIDTH - LEFT - RIGHT)
  const grid = ticks.map(
    (tick) =>
      line(x(tick), TOP, x(tick), height - BOTTOM) +
      text(x(tick), height - BOTTOM + 16, short(tick), 'middle'),
  )
  const bars = labels.flatMap((label, row) => {
    const top = TOP + row * group + 7
    const name = text(LEFT - 8, top + (series.length * BAR) / 2 + 4, label, 'end')
    return [
      name,
      ...series.map(({ values }, index) => {
        const [value = 0, y] = [values[row], top + index * BAR]
        const width = Math.max(1, x(value) - LEFT).toFixed(1)
        return `<rect x="${LEFT}" y="${y + 1}" width="${width}" height="${BAR - 3}" fill="${colour(index)}"/>${text(x(value) + 5, y + 12, short(value), 'start')}`
      }),
    ]
  })
  return svg(options, height, [...grid, ...bars, text(WIDTH / 2, height - 8, options.valueLabel, 'middle')])
}

/** Lines over a numeric axis: `xs` are the values' places on it. */
export function linePlot(
  options: PlotOptions & { readonly xs: readonly number[]; readonly xLabel: string },
): string {
  const { xs, series } = options
  const height = 340
  const ticks = ticksFor(series)
  const right = WIDTH - RIGHT
  const x = (value: number) => LEFT / 2 + (value / Math.max(...xs)) * (right - LEFT / 2)
  const y = (value: number) => height - BOTTOM - (value / (ticks.at(-1) ?? 1)) * (height - BOTTOM - TOP)
  const grid = [
    ...ticks.map(
      (tick) => line(LEFT / 2, y(tick), right, y(tick)) + text(LEFT / 2 - 6, y(tick) + 4, short(tick), 'end'),
    ),
    ...xs.map((at) => text(x(at), height - BOTTOM + 16, short(at), 'middle')),
  ]
  const lines = series.map(({ values }, index) => {
    const points = values.map((value, at) => `${x(xs[at] ?? 0).toFixed(1)},${y(value).toFixed(1)}`)
    const dots = points.map(
      (point) => `<circle cx="${point.replace(',', '" cy="')}" r="3.5" fill="${colour(index)}"/>`,
    )
    return `<polyline points="${points.join(' ')}" fill="none" stroke="${colour(index)}" stroke-width="2"/>${dots.join('')}`
  })
  const axes = [
    text((LEFT / 2 + right) / 2, height - 8, options.xLabel, 'middle'),
    `<text transform="translate(16 ${(TOP + height - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escaped(options.valueLabel)}</text>`,
  ]
  return svg(options, height, [...grid, ...lines, ...axes])
}

function svg({ title, series }: PlotOptions, height: number, parts: readonly string[]): string {
  const legend = series.map(({ name }, index) => {
    const at = 8 + index * 150
    return `<rect x="${at}" y="34" width="12" height="12" fill="${colour(index)}"/>${text(at + 18, 44, name, 'start')}`
  })
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" font-family="system-ui, sans-serif" font-size="12" fill="${INK}">`
  const name = `<title>${escaped(title)}</title><text x="8" y="20" font-size="13" font-weight="600">${escaped(title)}</text>`
  return `${[head, name, ...(series.length > 1 ? legend : []), ...parts, '</svg>'].join('\n')}\n`
}

/** Round numbers from 0 to just above the highest value, some five of them. */
function ticksFor(series: readonly Series[]): number[] {
  const most = Math.max(...series.flatMap(({ values }) => values)) || 1
  const rough = most / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, index) => index * step)
}

function colour(index: number): string {
  return COLOURS[index % COLOURS.length] ?? INK
}

function short(value: number): string {
  return value.toLocaleString('en', { maximumSignificantDigits: 3 })
}

function line(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${INK}" stroke-opacity="0.3"/>`
}

function text(x: number, y: number, words: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escaped(words)}</text>`
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
