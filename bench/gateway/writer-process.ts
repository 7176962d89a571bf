import { startWeighedProcess } from '../support/weighed-process.ts'
import type { WeighedProcess } from '../support/weighed-process.ts'

/** Jobs of a bench: as many, named `<tag>-<number>`. A list of thousands would be too long for a process's argument. */
export interface JobRange {
  readonly tag: string
  readonly count: number
}

/** The ids of a range. */
export function idsOf({ tag, count }: JobRange): string[] {
  return Array.from({ length: count }, (_, index) => `${tag}-${index}`)
}

/** What is written, and how fast. */
export interface WriterSettings {
  readonly redisUrl: string
  readonly pool: string
  readonly jobs: JobRange
  /** Tokens a second in each job's stream. */
  readonly perSecond: number
}

/** Begin to write; end it and answer with how many tokens were written. */
export type WriterOrder = 'go' | 'end'

/** Starts a process that plays the workers of many jobs: it resolves when each has its `started`. */
export async function startWriterProcess(settings: WriterSettings): Promise<WeighedProcess> {
  return startWeighedProcess({ script: new URL('writer-child.ts', import.meta.url), settings })
}
