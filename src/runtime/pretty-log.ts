import { styleText } from 'node:util'
import { terminalLine } from './terminal.ts'

/** The colors of levels that stand out. */
const COLORS = { warn: 'yellow', error: 'red', fatal: 'red' } as const

/**
 * A line of the log for a person at a terminal: `[19:04:24.123] INFO: worker started {"slots":8}`. Colored where stderr takes colors
 * (`NO_COLOR` and `TERM=dumb` turn them off).
 *
 * @param json - the line as pino writes it.
 */
export function prettyLog(json: string): string {
  const { level, time, pid: _pid, name: _name, msg, ...facts } = JSON.parse(json) as Record<string, unknown>
  const word = String(level)
  const color = COLORS[word as keyof typeof COLORS] ?? 'green'
  const rest = Object.keys(facts).length === 0 ? '' : ` ${terminalLine(JSON.stringify(facts))}`
  const style = (format: 'cyan' | typeof color, text: string) =>
    styleText(format, text, { stream: process.stderr })
  return `[${clockOf(time)}] ${style(color, word.toUpperCase())}: ${style('cyan', terminalLine(typeof msg === 'string' ? msg : ''))}${rest}\n`
}

/** The time of day where this process runs. */
function clockOf(time: unknown): string {
  const at = new Date(String(time))
  const parts = [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0'))
  return `${parts.join(':')}.${String(at.getMilliseconds()).padStart(3, '0')}`
}
