import type { Random } from '../chaos/random.ts'

/** Text that repeats a unit as often as fits: `head` + units + `tail` is at most so many bytes. */
export function fill(bytes: number, unit: string, { head = '', tail = '', between = '' } = {}): string {
  const room = bytes - Buffer.byteLength(head) - Buffer.byteLength(tail)
  const count = Math.max(1, Math.floor(room / (Buffer.byteLength(unit) + Buffer.byteLength(between))))
  const units = between === '' ? unit.repeat(count) : `${unit}${between}`.repeat(count - 1) + unit
  return head + units + tail
}

/** The same with units that differ: `unit` gets 0, 1, 2, … */
export function fillWith(
  bytes: number,
  unit: (n: number) => string,
  { head = '', tail = '', between = ',' } = {},
): string {
  const units: string[] = []
  let size = Buffer.byteLength(head) + Buffer.byteLength(tail)
  for (let n = 0; ; n += 1) {
    const next = unit(n)
    size += Buffer.byteLength(next) + between.length
    if (size > bytes && n > 0) break
    units.push(next)
  }
  return head + units.join(between) + tail
}

/** A size: often small, often near the limit. */
export function drawBytes(random: Random, limit: number): number {
  const kind = random.weighted({ tiny: 2, small: 3, middling: 3, large: 3, limit: 4 })
  switch (kind) {
    case 'tiny':
      return random.between(40, 2000)
    case 'small':
      return random.between(2000, 64 * 1024)
    case 'middling':
      return random.between(64 * 1024, 512 * 1024)
    case 'large':
      return random.between(512 * 1024, limit)
    case 'limit':
      return limit - random.between(0, 64)
  }
}
