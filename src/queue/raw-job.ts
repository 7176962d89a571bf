/**
 * A job's hash in Redis, as its producer wrote it. Nothing in it is trusted: BullMQ parses four of its fields as JSON while
 * it takes a job, and one that does not parse would be taken again for ever. So BullMQ sees only the fields that {@link tame} leaves.
 */
import { JOB_NAME } from '../contract/keys.ts'

/** What a job's hash says. */
export interface RawJob {
  readonly id: string
  /** The body, unread; dropped once it has been read, since it may be megabytes. */
  data: string | undefined
  /** What workers remember of it, unread. */
  readonly progress: string | undefined
  /** When it was added, by its producer's clock (ms since 1970); 0 if it does not say. */
  readonly addedAtMs: number
  readonly priority: number
  /** When it was taken now, by this process's clock. */
  readonly takenAtMs: number
  /** How often it was taken, this time included. */
  readonly takes: number
  /** How often the worker that had it died or lost its lock. */
  readonly stalls: number
  /** What a producer wrote where only BullMQ may; undefined if nothing. */
  readonly flaw: string | undefined
}

/** A job that was taken: for us, and for BullMQ. */
export interface TamedJob {
  readonly raw: RawJob
  /** As a script of BullMQ returns a job: fields and values in turn. */
  readonly reply: readonly unknown[]
}

/**
 * Reads the answer of BullMQ's script that takes a job (moveToActive-11.lua): `[fields, id, …]`, or zeros if there is none.
 *
 * @returns undefined if it holds no job.
 */
export function tame(answer: unknown): TamedJob | undefined {
  const [list, id, ...rest]: readonly unknown[] = Array.isArray(answer) ? answer : []
  if (!Array.isArray(list) || typeof id !== 'string') return undefined
  const fields = new Map<unknown, string>()
  for (let at = 0; at + 1 < list.length; at += 2) fields.set(list[at], String(list[at + 1]))
  // BullMQ's own counters: a producer that set one below zero would have its job retried for ever.
  const forged = ['ats', 'stc'].find((name) => !/^\d{1,15}$/.test(fields.get(name) ?? '0'))
  const raw: RawJob = {
    id,
    data: fields.get('data'),
    progress: fields.get('progress'),
    addedAtMs: count(fields.get('timestamp')),
    priority: count(fields.get('priority')),
    takenAtMs: count(fields.get('processedOn')),
    takes: Math.max(1, count(fields.get('ats'))),
    stalls: count(fields.get('stc')),
    flaw: forged && `job: expected BullMQ's own counter in ${forged}, got something else`,
  }
  const known = {
    name: JOB_NAME,
    timestamp: raw.addedAtMs,
    delay: 0,
    priority: raw.priority,
    ats: raw.takes,
    stc: raw.stalls,
    processedOn: raw.takenAtMs,
  }
  return { raw, reply: [Object.entries(known).flatMap(([key, value]) => [key, String(value)]), id, ...rest] }
}

/** A whole number from 0, and 0 for anything else. */
function count(text: string | undefined): number {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : 0
}
