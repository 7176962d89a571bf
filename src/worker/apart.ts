import { randomBytes } from 'node:crypto'

/**
 * Keeps apart what failed together. When an engine fails, it fails every request that it has, and one of them may be the
 * cause: a prompt or a grammar that no engine survives. If those jobs ran beside each other again, the innocent would
 * lose one attempt after another.
 *
 * Jobs that ran beside each other and failed within a second share an event. A job that had no token then is a suspect;
 * one that had is a victim, since it ran well before. A suspect runs beside no other job of its event, on any replica;
 * victims run beside each other. So one bad job interrupts each of the others once at most, and a victim of a suspect
 * pays no attempt for it.
 */
export interface Apart {
  /** Whether a job with these marks (`TakenJob.failedWith`) has to wait for one that runs here. */
  mustWait(marks: readonly string[]): boolean
  /** A job with these marks runs here from now on (performance.now()). */
  enter(marks: readonly string[], nowMs: number): Neighbour
}

/** A job that runs here. */
interface Neighbour {
  /**
   * Its engine failed.
   *
   * @param answered whether it has had a token.
   */
  fail(answered: boolean, nowMs: number): EngineFailure
  leave(): void
}

/** A fault that may have hit other jobs as well. */
export interface EngineFailure {
  /** Names the event to those that count faults. */
  readonly event: string
  /** What the job carries from now on, in `TakenJob.failedWith`. */
  readonly mark: string
  /** Whether another job is the suspect, as far as is known by now: the others' faults arrive within milliseconds. */
  readonly isVictim: boolean
}

/** A batch fails within milliseconds; a busy machine may hear of it later (ms). */
const EVENT_MS = 1000

const SUSPECT = '!'

/** Nothing has failed yet. */
export function createApart(): Apart {
  const running = new Set<readonly string[]>()
  let event = { id: '', atMs: -Infinity, suspects: 0 }

  return {
    mustWait: (marks) => marks.length > 0 && [...running].some((others) => clash(marks, others)),
    enter(marks, enteredAt) {
      const own = [...marks]
      running.add(own)
      return {
        fail(answered, nowMs) {
          if (enteredAt > event.atMs || nowMs - event.atMs > EVENT_MS)
            event = { id: randomBytes(6).toString('base64url'), atMs: nowMs, suspects: 0 }
          const mine = event
          if (!answered) mine.suspects += 1
          return {
            event: mine.id,
            mark: answered ? mine.id : mine.id + SUSPECT,
            get isVictim() {
              return answered && mine.suspects > 0
            },
          }
        },
        leave: () => void running.delete(own),
      }
    },
  }
}

/** Whether two jobs share an event in which one of them is a suspect. */
function clash(marks: readonly string[], others: readonly string[]): boolean {
  return marks.some((mark) => {
    const event = mark.replace(SUSPECT, '')
    return others.includes(event + SUSPECT) || (mark.endsWith(SUSPECT) && others.includes(event))
  })
}
