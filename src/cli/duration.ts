import { InvalidArgumentError } from 'commander'

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** Parses a duration such as `90s`, `10m`, `2h` or `1d` into ms; for options of the command. @throws for anything else. */
export function duration(text: string): number {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? []
  const ms = Number(count) * UNITS[unit as keyof typeof UNITS]
  if (Number.isSafeInteger(ms)) return ms
  throw new InvalidArgumentError('Expected a duration such as 90s, 10m, 2h or 1d.')
}

/** Formats an age in its two largest units, rounded down, for tables: `45s`, `12m`, `3h5m`, `2d4h`. */
export function formatAge(ms: number): string {
  const whole = (unit: number) => Math.floor(Math.max(0, ms) / unit)
  const { s, m, h, d } = UNITS
  if (ms < m) return `${whole(s)}s`
  if (ms < h) return `${whole(m)}m`
  if (ms < d) return join(`${whole(h)}h`, whole(m) % 60, 'm')
  return join(`${whole(d)}d`, whole(h) % 24, 'h')
}

function join(large: string, count: number, unit: string): string {
  return count === 0 ? large : `${large}${count}${unit}`
}
