import type { BenchReport } from '../support/report.ts'
import { headingOf, measuresOf } from './measures.ts'
import type { Measures } from './measures.ts'
import { barPlot, linePlot } from './svg.ts'

/** A plot, ready to be written. */
export interface Plot {
  readonly file: string
  readonly title: string
  readonly svg: string
}

interface PlotPlan {
  /** One axis, so all of one unit. */
  readonly measures: readonly string[]
  readonly valueLabel: string
  /** Subjects named `<this>_<number>` are places on a line. */
  readonly along?: { readonly subject: string; readonly label: string }
}

const PLANS: Readonly<Record<string, PlotPlan>> = {
  throughput: { measures: ['tokens_per_second'], valueLabel: 'tokens a second' },
  latency: { measures: ['p50_ms', 'p99_ms'], valueLabel: 'chunk to acknowledged (ms)' },
  'pick-up': { measures: ['p50_ms', 'p99_ms'], valueLabel: 'milliseconds' },
  cancel: { measures: ['p50_ms', 'p99_ms'], valueLabel: 'to socket closed (ms)' },
  handover: { measures: ['p50_ms', 'p99_ms'], valueLabel: 'from token to token (ms)' },
  'rivals-throughput': { measures: ['tokens_per_second'], valueLabel: 'tokens a second' },
  'rivals-latency': { measures: ['p50_ms', 'p99_ms'], valueLabel: 'replica to reader (ms)' },
  'rivals-reconnect': {
    measures: ['caught_up_p50_ms', 'caught_up_max_ms'],
    valueLabel: 'until caught up (ms)',
  },
  'rivals-memory': { measures: ['idle_rss_mib', 'work_rss_mib'], valueLabel: 'resident memory (MiB)' },
  'rivals-death': { measures: ['told_ms'], valueLabel: 'until the reader is told (ms)' },
  'first-byte': {
    measures: ['prefill_0_token_p50_ms', 'prefill_20_token_p50_ms'],
    valueLabel: 'to the first token (ms)',
  },
  subscribers: {
    measures: ['p50_ms', 'p99_ms'],
    valueLabel: 'write to subscriber (ms)',
    along: { subject: 'gateway', label: 'subscribers, 20 events a second each' },
  },
}

/** The plot of a report, if there is one to draw. */
export function plotOf(report: BenchReport, subjects: readonly string[]): Plot | undefined {
  const plan = PLANS[report.name]
  if (plan === undefined) return undefined
  const measures = measuresOf(report, subjects)
  const svg = plan.along === undefined ? drawBars(report, plan, measures) : drawLine(report, plan, measures)
  return { file: `${report.name}.svg`, title: report.question, svg }
}

function seriesOf(plan: PlotPlan, measures: Measures, subjects: readonly string[]) {
  return plan.measures.map((measure) => ({
    name: headingOf(measure),
    values: subjects.map((subject) => measures.get(subject)?.get(measure) ?? 0),
  }))
}

function drawBars({ question }: BenchReport, plan: PlotPlan, measures: Measures): string {
  const [first = ''] = plan.measures
  const labels = [...measures].filter(([, found]) => found.has(first)).map(([subject]) => subject)
  return barPlot({
    title: question,
    valueLabel: plan.valueLabel,
    labels: labels.map((label) => label.replaceAll('_', ' ')),
    series: seriesOf(plan, measures, labels),
  })
}

function drawLine({ question }: BenchReport, plan: PlotPlan, measures: Measures): string {
  const prefix = `${plan.along?.subject ?? ''}_`
  const subjects = [...measures.keys()].filter((subject) => subject.startsWith(prefix))
  return linePlot({
    title: question,
    valueLabel: plan.valueLabel,
    xLabel: plan.along?.label ?? '',
    xs: subjects.map((subject) => Number(subject.slice(prefix.length))),
    series: seriesOf(plan, measures, subjects),
  })
}
