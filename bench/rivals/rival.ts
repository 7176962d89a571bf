import type { WeighedProcess } from '../support/weighed-process.ts'

/** Told the text of each token, in order. */
export type OnToken = (text: string) => void

/** Somebody who reads an answer. */
export interface Reading {
  /** Resolves with the answer's end, or after {@link Reading.leave}; rejects when the answer fails. */
  readonly ended: Promise<void>
  /** Takes no more from this moment on. */
  leave(): void
  /** Goes on behind the last token that was told. */
  comeBack(onToken: OnToken): Reading
}

/** One way from a prompt to its reader, in place of tgi-pool. */
export interface Rival {
  readonly name: RivalName
  /** The process between replica and reader; undefined where there is none. */
  readonly server: WeighedProcess | undefined
  /** Further processes between them, which are not weighed. */
  readonly helpers: readonly WeighedProcess[]
  /** Asks for an answer and reads it. The simulator knows its request by the tag. */
  ask(tag: string, tokens: number, onToken: OnToken): Reading
  /** Reads an answer that was asked for before, from its first token. */
  readAll(tag: string, onToken: OnToken): Reading
  /** Redis keys it leaves behind, as a pattern. */
  readonly leftovers: string
  stop(): Promise<void>
}

/** Who takes part: tgi-pool and what one would use instead. */
export const RIVAL_NAMES = ['tgi_pool', 'bullmq_xadd', 'resumable_stream', 'direct'] as const

/** One of {@link RIVAL_NAMES}. */
export type RivalName = (typeof RIVAL_NAMES)[number]

/** How a rival's processes are to run. */
export interface RivalSettings {
  readonly redisUrl: string
  readonly replicaUrl: string
  /** The name of the replica, where two serve the same one. */
  readonly replicaId?: string | undefined
  /** Answers under way at once. */
  readonly slots: number
  /** Count the commands that its processes send to Redis. */
  readonly counted: boolean
}
