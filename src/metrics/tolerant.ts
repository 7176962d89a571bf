import type { Family, FamilyType } from './family.ts'
import { readLines } from './parse.ts'
import { isOpen } from './scan.ts'
import { shedFamilies } from './shed.ts'

/** Most bad lines of a usable exposition. */
const MAX_BAD_LINES = 100

type Types = ReadonlyMap<string, { readonly type: FamilyType; readonly name?: string }>

/** An exposition, and what was unreadable. */
interface Exposition {
  readonly families: readonly Family[]
  /** What is wrong with the first bad line; undefined when all are good. */
  readonly fault?: Error | undefined
  /** How many samples were dropped; a bad line counts as one. */
  readonly malformed: number
  /** How many samples were left out because there are too many. */
  readonly shed: number
  /** The bounds and what there was; undefined within them. */
  readonly surplus?: Error | undefined
}

/**
 * Reads an exposition that may have bad lines or too many series. Of too many, the largest families go. Drops only the bad sample, or its whole family if the family is useless without it
 * (histograms, summaries) or its TYPE is doubtful.
 *
 * @throws {@link PoolError} `REPLICA_UNAVAILABLE` if all lines are doubtful: a truncated body, a label that does not end on its
 * line (what follows may be its text), too many lines, or no good family.
 */
export function readExposition(text: string): Exposition {
  let first: Error | undefined
  let malformed = 0
  const broken = new Set<string>()
  const { text: kept, dropped: shed, surplus } = shedFamilies(text)
  const families = readLines(kept, (error, line, types) => {
    if (isOpen(line)) throw error
    first ??= error
    malformed += 1
    if (malformed > MAX_BAD_LINES) throw first
    const name = doubtful(line, types)
    if (name !== undefined) broken.add(name)
  })
  const isBroken = ({ name, type }: Family): boolean =>
    broken.has(name) || (type === 'untyped' && broken.has(name.replace(/_(?:bucket|sum|count)$/, '')))
  const whole = families.filter((family) => !isBroken(family))
  // E.g. an error page.
  if (first !== undefined && whole.length === 0) throw first
  const left = families.filter(isBroken).reduce((sum, { samples }) => sum + samples.length, 0)
  return { families: whole, fault: first, malformed: malformed + left, shed, surplus }
}

/** The family that a bad line makes doubtful; undefined if only the line is bad. */
function doubtful(line: string, types: Types): string | undefined {
  const [, keyword, name = ''] =
    /^[ \t]*(?:#[ \t]*(HELP|TYPE)[ \t]+)?([a-zA-Z_:][a-zA-Z0-9_:]*)/.exec(line) ?? []
  if (keyword === 'HELP') return undefined
  if (keyword === 'TYPE') return name
  // A line without a name belongs to the family around it.
  const family = name === '' ? [...types.values()].at(-1) : types.get(baseOf(types, name))
  return family?.type === 'histogram' || family?.type === 'summary' ? family.name : undefined
}

function baseOf(types: Types, name: string): string {
  return types.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, '')
}
