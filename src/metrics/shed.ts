import { PoolError } from '../contract/error.ts'
import { fault, isBlank, isOpen, lineEnd } from './scan.ts'

/** The most samples and families of one replica. A warm TGI has some 1,900 samples in 25 families (3.3.7). */
const MAX_SAMPLES = 5000
const MAX_FAMILIES = 500
/** The most families that are counted to find the largest. */
const MAX_COUNTED = 10_000

/** An exposition within its bounds. */
interface Shed {
  /** Lines that were left out are blank, so that the others keep their numbers. */
  readonly text: string
  /** How many samples were left out. */
  readonly dropped: number
  /** The bounds and what there was; undefined within them. */
  readonly surplus?: Error | undefined
}

/**
 * Leaves out the largest families of an exposition until at most 5,000 samples in 500 families are left. It is done before the text is
 * read, so a replica with very many series costs little more than a look at the name in each line.
 *
 * @throws {@link PoolError} `REPLICA_UNAVAILABLE` for more families than can be counted, and for a line to leave out that ends inside a
 * label: what follows may be the label's text.
 */
export function shedFamilies(text: string): Shed {
  const sizes = countFamilies(text)
  const samples = [...sizes.values()].reduce((sum, size) => sum + size, 0)
  if (samples <= MAX_SAMPLES && sizes.size <= MAX_FAMILIES) return { text, dropped: 0 }
  // Sorting is stable: of families of one size, the first stay.
  const bySize = [...sizes].toSorted(([, a], [, b]) => a - b)
  const kept = new Set<string>()
  let left = 0
  for (const [family, size] of bySize) {
    if (kept.size >= MAX_FAMILIES || left + size > MAX_SAMPLES) break
    kept.add(family)
    left += size
  }
  const largest = bySize.at(-1)?.[0].slice(0, 60) ?? ''
  const surplus = new PoolError(
    'REPLICA_UNAVAILABLE',
    `metrics: expected at most ${MAX_SAMPLES} samples in ${MAX_FAMILIES} families, got ${samples} in ${sizes.size}; left out the largest families, ${largest} first`,
  )
  return { text: withoutFamilies(text, kept), dropped: samples - left, surplus }
}

/** How many samples each family has. */
function countFamilies(text: string): Map<string, number> {
  const sizes = new Map<string, number>()
  const familyAt = createFamilyFinder(text)
  for (let at = 0; at < text.length; at = lineEnd(text, at) + 1) {
    const found = familyAt(at)
    if (found === undefined) continue
    sizes.set(found.family, (sizes.get(found.family) ?? 0) + found.samples)
    if (sizes.size <= MAX_COUNTED) continue
    throw new PoolError(
      'REPLICA_UNAVAILABLE',
      `metrics: expected at most ${MAX_FAMILIES} families, got more than ${MAX_COUNTED}`,
    )
  }
  return sizes
}

function withoutFamilies(text: string, kept: ReadonlySet<string>): string {
  const parts: string[] = []
  const familyAt = createFamilyFinder(text)
  let from = 0
  for (let at = 0, line = 1; at < text.length; line += 1) {
    const end = lineEnd(text, at)
    const found = familyAt(at)
    // A last line without its newline stays, so that a truncated text is refused.
    if (found !== undefined && !kept.has(found.family) && end < text.length) {
      if (isOpen(text.slice(at, end))) throw fault({ text, at: end, line, lineStart: at }, 'a closing "')
      parts.push(text.slice(from, at))
      from = end
    }
    at = end + 1
  }
  return parts.join('') + text.slice(from)
}

const NEWLINE = 10
const HASH = 35
const SAMPLE = /[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)/y
const COMMENT =
  /[ \t]*#[ \t]*(HELP|TYPE)[ \t]+([a-zA-Z_:][a-zA-Z0-9_:]*)(?:[ \t]+(histogram|summary)[ \t]*$)?/my

/** Returns which family the line at a place belongs to, if any; call it line by line, since a TYPE decides about what follows it. */
function createFamilyFinder(text: string) {
  /** Families whose samples have names of their own: `<name>_bucket`, `<name>_sum`, `<name>_count`. */
  const parted = new Set<string>()
  return (at: number): { readonly family: string; readonly samples: 0 | 1 } | undefined => {
    const first = text.charCodeAt(at)
    if (first === NEWLINE) return undefined
    if (first === HASH || isBlank(first)) {
      COMMENT.lastIndex = at
      const [, keyword, subject, type] = COMMENT.exec(text) ?? []
      if (subject !== undefined) {
        if (keyword === 'TYPE' && type !== undefined) parted.add(subject)
        return { family: subject, samples: 0 }
      }
    }
    SAMPLE.lastIndex = at
    const name = SAMPLE.exec(text)?.[1]
    if (name === undefined) return undefined
    if (parted.size === 0) return { family: name, samples: 1 }
    const base = name.replace(/_(?:bucket|sum|count)$/, '')
    return { family: parted.has(base) ? base : name, samples: 1 }
  }
}
