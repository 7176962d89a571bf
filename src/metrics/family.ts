/** The types of the Prometheus text format 0.0.4; `untyped` stands for an undeclared one. */
export const FAMILY_TYPES = ['counter', 'gauge', 'histogram', 'summary', 'untyped'] as const

/** What kind of numbers a family holds. */
export type FamilyType = (typeof FAMILY_TYPES)[number]

/** A label: name and value. */
export type Label = readonly [name: string, value: string]

/** The longest value of a label that comes from the registry (characters). A worker's own entries are shorter. */
const MAX_LABEL_CHARS = 512

/** A value of the registry as a label: it stands in every series of its replica. */
export function labelValue(text: string): string {
  return text.slice(0, MAX_LABEL_CHARS).toWellFormed()
}

/** One line of numbers. */
export interface Sample {
  /** The family's, or with `_bucket`, `_sum`, `_count` behind it. */
  readonly name: string
  readonly labels: readonly Label[]
  /** As it was written: no digit is lost on the way through us. */
  readonly value: string
  /** Milliseconds since 1970, as it was written. */
  readonly timestamp?: string | undefined
}

/** All samples under one name. */
export interface Family {
  readonly name: string
  readonly type: FamilyType
  readonly help?: string | undefined
  readonly samples: readonly Sample[]
}
