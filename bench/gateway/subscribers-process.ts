import { startWeighedProcess } from '../support/weighed-process.ts'
import type { WeighedProcess } from '../support/weighed-process.ts'
import type { JobRange } from './writer-process.ts'

/** Who reads what. */
export interface SubscribersSettings {
  /** The server's address. */
  readonly url: string
  readonly pool: string
  /** Each is read by one subscriber. */
  readonly jobs: JobRange
}

/** Forget what was told so far; tell what was told since. */
export type SubscribersOrder = 'forget' | 'tell'

/** What subscribers were told. */
export interface Delivery {
  readonly tokens: number
  /** From just before the write to here. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** Starts a process of subscribers; resolves when each has its answer's headers and the `started` of its job. */
export async function startSubscribers(settings: SubscribersSettings): Promise<WeighedProcess> {
  return startWeighedProcess({ script: new URL('subscribers-child.ts', import.meta.url), settings })
}
