import type { Family, Sample } from './family.ts'

/** What the text format 0.0.4 is called in a `Content-Type`. */
export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** Writes families in the Prometheus text format 0.0.4: HELP, if there is one, TYPE, and the samples in their order. */
export function renderExposition(families: readonly Family[]): string {
  const lines: string[] = []
  for (const { name, type, help, samples } of families) {
    if (help !== undefined) lines.push(`# HELP ${name} ${escapeHelp(help)}`)
    lines.push(`# TYPE ${name} ${type}`)
    for (const sample of samples) lines.push(sampleLine(sample))
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`
}

function sampleLine({ name, labels, value, timestamp }: Sample): string {
  const braced =
    labels.length === 0
      ? ''
      : `{${labels.map(([label, text]) => `${label}="${escapeLabel(text)}"`).join(',')}}`
  return `${name}${braced} ${value}${timestamp === undefined ? '' : ` ${timestamp}`}`
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function escapeLabel(text: string): string {
  return /[\\"\n]/.test(text) ? escapeHelp(text).replaceAll('"', '\\"') : text
}
