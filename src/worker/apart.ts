import { randomBytes } from 'node:crypto'

/**
 * Keeps jobs apart that failed together. When an engine fails, it fails all its requests, and one of them may be the cause: a
 * prompt or a grammar that no engine survives. If those jobs ran beside each other again, the others would lose one attempt after
 * another.
 *
 * Jobs that ran beside each other and failed within a second share an event. A job that had no token then is a suspect;
 * one that had is a victim, since it ran well before. A suspect runs beside no other job of its event, on any replica;
 * victims run beside each other. So one bad job interrupts each of the others once at most, and a victim of a suspect
 * pays no attempt for it. Where all had a token, none is the suspect: those that have failed together so twice run apart.
 *
 * Half a minute after the event a suspect waits only for those that have had no token since. An engine that died with a
 * hundred prefills has a hundred suspects: one whole answer after the other, most would meet their deadlines; one prefill
 * after the other, none does. What is bad then interrupts those that it runs beside once more, as its victims.
 */
export interface Apart {
  /** Whether a job with these marks (`TakenJob.failedWith`) must wait for one that is running here. */
  mustWait(marks: readonly string[]): boolean
  /** Registers a job with these marks as running from `nowMs` on (performance.now()). */
  enter(marks: readonly string[], nowMs: number): Neighbour
}

/** A running job. */
interface Neighbour {
  /** It has had a token. */
  answer(): void
  /**
   * Reports that its engine failed.
   *
   * @param answered whether the job has received a token.
   */
  fail(answered: boolean, nowMs: number): EngineFailure
  leave(): void
}

/** A fault that may have hit other jobs as well. */
export interface EngineFailure {
  /** The event's id, for counting faults. */
  readonly event: string
  /** What the job carries from now on, in `TakenJob.failedWith`, as far as is known by now. */
  readonly mark: string
  /** Whether another job is the suspect, as far as is known so far: the others' faults arrive within milliseconds. */
  readonly isVictim: boolean
}

/** How long an event lasts (ms). A batch fails within milliseconds, but a busy machine may see it later. */
const EVENT_MS = 1000

/** How long a suspect waits for whole answers (ms). */
const PATIENCE_MS = 30_000

/** Who has failed together with others so often may be what fails them, and pays like a suspect. */
const MOST_TIMES = 5

/** Behind an event's name: the job had no token; or all had one, as far as was known. */
const [SUSPECT, UNEXPLAINED] = ['!', '?']

/**
 * The mark of a job that ends if two more workers die of it. One of those that carry it may be what kills them, so they never run
 * beside each other, however long one takes: it is unknown which it is.
 */
export const LAST_LIFE = `Infinity.died${SUSPECT}`

interface Running {
  readonly marks: readonly string[]
  isAnswered: boolean
}

/** Nothing has failed yet. @param clock ms since 1970: marks go from worker to worker. */
export function createApart(clock: () => number = Date.now): Apart {
  const running = new Set<Running>()
  let event = { id: '', atMs: -Infinity, suspects: 0 }

  return {
    mustWait(marks) {
      const now = clock()
      const young = marks.filter((mark) => now - bornAt(mark) < PATIENCE_MS)
      return [...running].some((other) => clash(other.isAnswered ? young : marks, other.marks))
    },
    enter(marks, enteredAt) {
      const own = { marks, isAnswered: false }
      running.add(own)
      return {
        answer() {
          own.isAnswered = true
        },
        fail(answered, nowMs) {
          if (enteredAt > event.atMs || nowMs - event.atMs > EVENT_MS)
            event = { id: `${clock()}.${randomBytes(6).toString('base64url')}`, atMs: nowMs, suspects: 0 }
          const mine = event
          if (!answered) mine.suspects += 1
          return {
            event: mine.id,
            get mark() {
              if (!answered) return mine.id + SUSPECT
              return mine.suspects > 0 ? mine.id : mine.id + UNEXPLAINED
            },
            get isVictim() {
              return answered && mine.suspects > 0 && marks.length < MOST_TIMES
            },
          }
        },
        leave: () => void running.delete(own),
      }
    },
  }
}

/** Whether two jobs share an event in which one of them is a suspect, or two without a suspect. */
function clash(marks: readonly string[], others: readonly string[]): boolean {
  const pairs = marks.flatMap((mark) =>
    others.filter((other) => eventOf(other) === eventOf(mark)).map((other) => mark + other),
  )
  return (
    pairs.some((pair) => pair.includes(SUSPECT)) ||
    pairs.filter((pair) => pair.includes(UNEXPLAINED)).length > 1
  )
}

function eventOf(mark: string): string {
  return mark.replace(/[!?]$/, '')
}

/** When a mark's event was (ms since 1970). */
function bornAt(mark: string): number {
  return Number(mark.split('.', 1)[0])
}
