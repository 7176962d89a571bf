import type { BenchDocument, BenchReport } from '../support/report.ts'
import { figureText, headingOf, measuresOf } from './measures.ts'
import type { Plot } from './plots.ts'

/** One bench on the page. */
export interface Section {
  readonly report: BenchReport
  /** Who is compared in it. */
  readonly subjects: readonly string[]
  /** How it measures, in Markdown. */
  readonly method: string
  readonly plot: Plot | undefined
}

/** The page of all results, in Markdown. Every number on it comes from the document. */
export function renderPage({ machine }: BenchDocument, sections: readonly Section[]): string {
  const intro = [
    '# Benches',
    '',
    'Made by `npm run bench:report` from [`results.json`](results.json); do not edit. Figures of two machines do not compare:',
    'what counts is each row against its neighbours, which were measured in the same run. A bench that was run again since, by',
    'itself, says when.',
    '',
    table(
      ['machine', ''],
      [
        ['processor', `${machine.cores} × ${machine.cpu}`],
        ['memory', `${figureText(machine.memory_gib)} GiB`],
        ['kernel', machine.kernel],
        ['Node', machine.node],
        ['Redis', machine.redis],
        ['date', machine.date],
        ['load average before', figureText(machine.load_before)],
      ],
    ),
    '',
    'Everything shares these cores: replica, Redis, worker, gateway, readers and what measures them.',
    '',
    '## Bars',
    '',
    barTable(sections),
  ]
  return `${[...intro, ...sections.flatMap(renderSection)].join('\n')}\n`
}

function barTable(sections: readonly Section[]): string {
  const rows = sections.flatMap(({ report }) =>
    report.bars.map(({ what, bar, got, met }) => [
      `[${report.name}](#${report.name})`,
      what,
      bar.replace('<=', '≤').replace('>=', '≥'),
      figureText(got),
      met ? 'met' : '**not met**',
    ]),
  )
  return table(['bench', 'what', 'bar', 'got', ''], rows)
}

function renderSection({ report, subjects, method, plot }: Section): string[] {
  const measures = measuresOf(report, subjects)
  const compared = [...measures].filter(([subject]) => subject !== '')
  const columns = [...new Set(compared.flatMap(([, found]) => [...found.keys()]))]
  const rows = compared.map(([subject, found]) => [
    `\`${subject}\``,
    ...columns.map((column) => {
      const value = found.get(column)
      return value === undefined ? '–' : figureText(value)
    }),
  ])
  const others = [
    ...[...(measures.get('') ?? [])].map(([name, value]) => [headingOf(name), figureText(value)]),
    ...Object.entries(report.ratios).map(([name, value]) => [
      `${name.replaceAll('_', ' ')} (×)`,
      figureText(value),
    ]),
  ]
  return [
    '',
    `## ${report.name}`,
    '',
    `**${report.question}**`,
    ...(report.again_on === undefined ? [] : ['', `Run again on ${report.again_on}.`]),
    '',
    ...(rows.length > 0 ? [table(['', ...columns.map(headingOf)], rows), ''] : []),
    ...(plot === undefined ? [] : [`![${plot.title}](plots/${plot.file})`, '']),
    ...(others.length > 0 ? [table(['', ''], others), ''] : []),
    `<details><summary>Method</summary>`,
    '',
    method,
    '',
    `</details>`,
  ]
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const rule = `|${head.map((_, index) => (index === 0 ? '---' : '---:')).join('|')}|`
  return [tableLine(head), rule, ...rows.map(tableLine)].join('\n')
}

function tableLine(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}
