import type { Family, FamilyType, Label, Sample } from './family.ts'

/** Names of families that are ours alone. */
const OUR_PREFIX = 'tgi_pool_'

/** Why samples of a replica were left out. */
export const DROP_REASONS = ['type', 'reserved', 'duplicate', 'malformed', 'limit'] as const

/**
 * `type`: another replica, or this process, declared another TYPE for the name. `reserved`: the family has a name of
 * ours. `duplicate`: the replica reported the same series twice. `malformed`: a line could not be read, or made a family doubtful.
 * `limit`: the replica has too many series, and its largest families were left out.
 */
export type DropReason = (typeof DROP_REASONS)[number]

/** The families of one replica, and the labels that its samples get. */
export interface Source {
  readonly families: readonly Family[]
  readonly labels: readonly Label[]
  /** How many of its samples could not be read. @defaultValue 0 */
  readonly malformed?: number | undefined
  /** How many of its samples were left out because it has too many. @defaultValue 0 */
  readonly shed?: number | undefined
}

/** All sources as one. */
export interface Merged {
  readonly families: readonly Family[]
  /** How many samples of each source were left out, in the order of the sources. */
  readonly dropped: readonly Readonly<Record<DropReason, number>>[]
}

/** A family that is being made. */
interface Target {
  readonly name: string
  readonly type: FamilyType
  help: string | undefined
  readonly samples: Sample[]
}

/**
 * Makes one exposition of many: each family once, with the samples of all its sources. The first source to name a
 * family decides its type; samples of one that disagrees are left out, for a family has one TYPE.
 *
 * @param taken - types that are decided already, by family.
 */
export function mergeFamilies(
  sources: readonly Source[],
  taken: ReadonlyMap<string, FamilyType> = new Map(),
): Merged {
  const claims = new Map<string, Target>()
  for (const [name, type] of taken) claim(claims, name, type)
  const used = new Set<Target>()
  const dropped = sources.map((source) => {
    const counts = {
      type: 0,
      reserved: 0,
      duplicate: 0,
      malformed: source.malformed ?? 0,
      limit: source.shed ?? 0,
    }
    for (const { name, type, help, samples } of source.families) {
      const target = name.startsWith(OUR_PREFIX) ? undefined : claim(claims, name, type)
      if (name.startsWith(OUR_PREFIX)) counts.reserved += samples.length
      else if (target === undefined) counts.type += samples.length
      else {
        used.add(target)
        target.help ??= help
        counts.duplicate += addSamples(target.samples, samples, source.labels)
      }
    }
    return counts
  })
  return { families: [...used], dropped }
}

/**
 * The family of that name and type; undefined when another has the name, or the name of one of its parts: a counter
 * `x_count` beside a histogram `x` is ambiguous to every reader.
 */
function claim(claims: Map<string, Target>, name: string, type: FamilyType): Target | undefined {
  const holder = claims.get(name)
  if (holder !== undefined) return holder.name === name && holder.type === type ? holder : undefined
  const names = [name, ...PARTS[type].map((part) => name + part)]
  if (names.some((part) => claims.has(part))) return undefined
  const target: Target = { name, type, help: undefined, samples: [] }
  for (const part of names) claims.set(part, target)
  return target
}

const PARTS: Readonly<Record<FamilyType, readonly string[]>> = {
  counter: [],
  gauge: [],
  untyped: [],
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['_sum', '_count'],
}

/** Adds the samples with their new labels; answers how many were there twice. */
function addSamples(to: Sample[], samples: readonly Sample[], added: readonly Label[]): number {
  const seen = new Set<string>()
  for (const sample of samples) {
    const labels = relabel(sample.labels, added)
    // Ours are the same for all; but what was exported may meet what had that name before.
    const key = seriesKey(sample.name, labels.slice(added.length))
    if (seen.has(key)) continue
    seen.add(key)
    to.push({ ...sample, labels })
  }
  return samples.length - seen.size
}

/** What makes a series: name and labels, whatever their order. A label without a value is none. */
function seriesKey(name: string, labels: readonly Label[]): string {
  const kept = labels.filter(([, value]) => value !== '')
  return JSON.stringify([name, ...(kept.length > 1 ? kept.toSorted(([a], [b]) => (a < b ? -1 : 1)) : kept)])
}

/**
 * Puts labels in front of those a sample has. One that it has already under the same name is kept as
 * `exported_<name>`, again and again until the name is free, as Prometheus does with `honor_labels: false`
 * (scrape/scrape.go, resolveConflictingExposedLabels).
 */
export function relabel(labels: readonly Label[], added: readonly Label[]): Label[] {
  const names = new Set([...labels, ...added].map(([name]) => name))
  const ours = new Set(added.map(([name]) => name))
  const kept = labels.map(([name, value]): Label => {
    if (!ours.has(name)) return [name, value]
    let free = name
    do free = `exported_${free}`
    while (names.has(free))
    names.add(free)
    return [free, value]
  })
  return [...added, ...kept]
}
