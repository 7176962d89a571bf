import { parseArgs } from 'node:util'
import { GENERATORS } from './generators.ts'

/** What a run is asked for. */
export interface FuzzOptions {
  /** How long requests and jobs are sent, the repeated ones included. */
  readonly seconds: number
  readonly seed: number
  /** Names of generators. */
  readonly only: readonly string[]
  /** Of each generator only this shot, sent again and again; absent: all, from 0 on. */
  readonly shot: number | undefined
}

const NAMES = Object.keys(GENERATORS)

/** The command in one line. */
export const SYNOPSIS =
  'usage: npm run fuzz -- [--seconds N] [--seed S] [--only NAME[,NAME…]] [--shot N] [--help]'

/** What the command takes. */
export const USAGE = `${SYNOPSIS}
  --seconds N   how long requests and jobs are sent; starting and stopping take some seconds more [60]
  --seed S      sends the same requests and jobs again, in the same order, on any machine [drawn]
  --only NAMES  only generators whose name contains one of these [all of them]
  --shot N      of each generator only the request or job of this number, from 0; a violation names it [all]
  --help        prints this
generators:
${NAMES.map((name) => `  ${name.padEnd(26)}${GENERATORS[name]?.what ?? ''}\n`).join('')}`

/**
 * Reads the command line.
 *
 * @throws a sentence that says what was expected and what came.
 */
export function parseOptions(args: string[]): FuzzOptions | 'help' {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string' },
      only: { type: 'string' },
      shot: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  return {
    seconds: integer('--seconds', values.seconds, 1, 86_400),
    seed:
      values.seed === undefined
        ? Math.floor(Math.random() * 1e6)
        : integer('--seed', values.seed, 0, 2 ** 32),
    only: values.only === undefined ? NAMES : namesWith(values.only),
    shot: values.shot === undefined ? undefined : integer('--shot', values.shot, 0, 1_000_000),
  }
}

function namesWith(text: string): string[] {
  const chosen = text.split(',').map((word) => {
    const names = word === '' ? [] : NAMES.filter((name) => name.includes(word))
    if (names.length > 0) return names
    throw new Error(
      `--only: expected parts of the names of generators (--help lists them), got ${JSON.stringify(word)}`,
    )
  })
  return [...new Set(chosen.flat())]
}

function integer(flag: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isInteger(value) && value >= min && value <= max) return value
  throw new Error(`${flag}: expected a whole number from ${min} to ${max}, got ${JSON.stringify(text)}`)
}
