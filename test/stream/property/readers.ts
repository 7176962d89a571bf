import { compareIds, START } from '../../../src/contract/stream-id.ts'
import type { Cursor } from '../../../src/contract/stream-id.ts'
import type { JobEvent } from '../../../src/contract/event.ts'
import type { PoolKeys } from '../../../src/contract/keys.ts'
import type { Line } from '../../support/line.ts'
import type { Modules } from './modules.ts'

/** What one reader has seen so far. */
export interface ReaderRun {
  readonly line: Line
  /** Ends one that does not end by itself. */
  readonly abort: AbortController
  /** The cursor it resumed after; moves to the start with a restart. */
  from: Cursor
  seen: JobEvent[]
  restarts: number
  /** There was no stream at some moment of its life, so it may have been told so. */
  excused: boolean
  /** How it ended: `seal`, or the kind of the error. */
  ended: string | undefined
  /** How often the past had been taken away when it ended. */
  era: number
  done: Promise<void>
}

/** What readers read. */
export interface ReaderWorld {
  readonly modules: Pick<Modules, 'readEvents'>
  readonly keys: PoolKeys
  readonly jobId: string
  readonly held: () => boolean
  readonly era: () => number
}

/** Reads to the end in the background. */
export function startReader(world: ReaderWorld, line: Line, from: Cursor): ReaderRun {
  const run: ReaderRun = {
    line,
    abort: new AbortController(),
    from,
    seen: [],
    restarts: 0,
    excused: false,
    ended: undefined,
    era: 0,
    done: Promise.resolve(),
  }
  run.done = readOn(world, run)
  return run
}

async function readOn(world: ReaderWorld, run: ReaderRun): Promise<void> {
  const { keys, jobId } = world
  const { signal } = run.abort
  const queueHolds = async () => world.held()
  const options = { hub: run.line.hub, keys, jobId, after: run.from, queueHolds, signal }
  try {
    for await (const event of world.modules.readEvents(options)) {
      if (event.event === 'restart') {
        run.from = START
        run.seen = []
        run.restarts += 1
      } else {
        run.seen.push(event)
      }
    }
    run.ended = 'seal'
  } catch (error) {
    run.ended = error instanceof Error && 'kind' in error ? String(error.kind) : String(error)
  }
  run.era = world.era()
}

/** The tokens that whoever follows the rules holds: `started.next_token` tells what to drop. */
function assemble(events: readonly JobEvent[]): string[] {
  const tokens: string[] = []
  for (const event of events) {
    if (event.event === 'started') tokens.length = Math.min(tokens.length, event.data.next_token)
    if (event.event === 'token') tokens.push(event.data.t)
  }
  return tokens
}

/** Holds what a reader has seen against the log; a sentence when it does not fit. */
export function checkReader(run: ReaderRun, log: readonly JobEvent[]): string | undefined {
  const expected = log.filter((event) => compareIds(event.id, run.from) > 0)
  if (ids(run.seen) !== ids(expected))
    return `a reader after ${run.from} saw ${ids(run.seen)}, not ${ids(expected)}`
  if (texts(run.seen) !== texts(expected))
    return `a reader after ${run.from} saw other tokens than the log has`
  if (run.from !== START) return undefined
  const [held, there] = [assemble(run.seen).join(), assemble(log).join()]
  return held === there ? undefined : `a reader holds ${held}, the log ${there}`
}

function ids(events: readonly JobEvent[]): string {
  return events.map((event) => event.id).join()
}

function texts(events: readonly JobEvent[]): string {
  return events.map((event) => (event.event === 'token' ? event.data.t : event.event)).join()
}
