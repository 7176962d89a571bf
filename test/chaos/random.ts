import { createHash } from 'node:crypto'

/** Seeded chance: the same seed draws the same numbers, on every machine. */
export interface Random {
  /** A number from 0 to below 1. */
  next(): number
  /** A whole number from `from` to `to`, both included. */
  between(from: number, to: number): number
  /** True so often (0 to 1). */
  chance(share: number): boolean
  pick<T>(choices: readonly T[]): T
  /** Picks a name by its weight. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name
}

/** Chance for one purpose, e.g. `(7, 'job', 12)`: what is drawn for one leaves the others as they are. */
export function createRandom(seed: number, ...purpose: readonly (string | number)[]): Random {
  let state = createHash('sha256')
    .update(`${seed} ${purpose.join(' ')}`)
    .digest()
    .readUInt32LE()

  /** Mulberry32. */
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  function pick<T>(choices: readonly T[]): T {
    const choice = choices[Math.floor(next() * choices.length)]
    if (choice === undefined) throw new Error('nothing to pick from')
    return choice
  }

  return {
    next,
    between: (from, to) => from + Math.floor(next() * (to - from + 1)),
    chance: (share) => next() < share,
    pick,
    weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
      const names = Object.keys(weights) as Name[]
      let left = next() * names.reduce((sum, name) => sum + weights[name], 0)
      const drawn = names.find((name) => (left -= weights[name]) < 0) ?? names.at(-1)
      if (drawn === undefined) throw new Error('nothing to draw from')
      return drawn
    },
  }
}
