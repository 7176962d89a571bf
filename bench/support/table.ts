import type { Machine } from './machine.ts'
import type { BenchReport } from './report.ts'

/** The machine in one line. */
export function machineLine(machine: Machine): string {
  const { cpu, cores, memory_gib: memory, node, redis, load_before: load } = machine
  return `${cores} × ${cpu}, ${memory} GiB, Node ${node}, ${redis}, load ${load.toFixed(2)} before\n`
}

/** A report as text for a terminal. */
export function reportText(report: BenchReport): string {
  const lines = [`${report.name}: ${report.question}`]
  const rows: [string, number, string][] = [
    ...Object.entries(report.figures).map(([name, value]): [string, number, string] => [name, value, '']),
    ...Object.entries(report.baseline).map(([name, value]): [string, number, string] => [
      name,
      value,
      'baseline',
    ]),
    ...Object.entries(report.ratios).map(([name, value]): [string, number, string] => [name, value, 'ratio']),
  ]
  const width = Math.max(...rows.map(([name]) => name.length), ...report.bars.map(({ what }) => what.length))
  for (const [name, value, kind] of rows)
    lines.push(`  ${name.padEnd(width)}  ${figure(value)}  ${kind}`.trimEnd())
  for (const { what, bar, got, met } of report.bars) {
    lines.push(`  ${what.padEnd(width)}  ${figure(got)}  ${met ? 'met' : 'NOT MET'} (${bar})`)
  }
  return `${lines.join('\n')}\n`
}

function figure(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: value < 100 ? 3 : 0 }).padStart(10)
}
