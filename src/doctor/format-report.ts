import { count } from './finding.ts'
import type { Finding } from './finding.ts'
import type { Report } from './report.ts'
import { terminalLine } from '../runtime/terminal.ts'

const WIDTH = 9

/** A report for people: a line for each fault, then for each warning, and one for all that is well. */
export function formatReport({ findings, pools }: Report): string {
  const lines = (['fault', 'warning'] as const).flatMap((status) =>
    findings.filter((finding) => finding.status === status).map(formatFinding),
  )
  const well = findings.filter(({ status }) => status === 'ok').length
  const what = pools.length === 0 ? '' : ` (${pools.map(formatPool).join('; ')})`
  const rest = well === 0 ? [] : [`${'ok'.padEnd(WIDTH)}${count(well, 'check')}${what}`]
  return [...lines, ...rest].map((line) => `${line}\n`).join('')
}

function formatFinding({ status, subject, message, advice }: Finding): string {
  const todo = advice === undefined ? '' : ` | do: ${advice}`
  // Reasons and names come from other programs. One finding is one line, in a pipe, too.
  return terminalLine(`${status.padEnd(WIDTH)}${subject}: ${message}${todo}`)
}

function formatPool({ pool_id: pool, waiting, active, replicas }: Report['pools'][number]): string {
  const jobs = `${waiting.interactive + waiting.batch + waiting.delayed} waiting, ${active} running`
  return `pool ${pool}: ${jobs}, ${count(replicas.length, 'replica')}`
}
