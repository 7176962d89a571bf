import type { Fault } from './schedule.ts'

/** A command that somebody has sent and the schedule has not let through yet. */
interface Gate {
  /** Lets it through, as far as the fault allows; resolves when the sender has its answer. */
  run(fault: Fault): Promise<void>
}

/** Where all commands of a schedule wait, so that the schedule and not the network decides on their order. */
export interface Gates {
  readonly waiting: Gate[]
  /** Commands whose senders have given them up and that Redis has yet to execute. */
  readonly late: (() => Promise<void>)[]
  /** @param resends whether the driver may send a command twice; else it is never executed twice. */
  pass<T>(execute: () => Promise<T>, resends: boolean): Promise<T>
  /** Resolves when a command has come, or after `ms`. */
  arrival(ms: number): Promise<void>
}

/** What a sender hears of a line that breaks under its command. */
const LINE_CUT = 'Command aborted due to connection close'
/** What Redis answers then; it means the whole server, so here it is only said (attempt-writer.test.ts has the real one). */
const REFUSAL = 'NOREPLICAS Not enough good replicas to write.'

/** Whether an error is one that a schedule makes. */
export function isInjected(error: unknown): boolean {
  return error instanceof Error && (error.message === LINE_CUT || error.message === REFUSAL)
}

/** Opens gates at which nothing waits. */
export function createGates(): Gates {
  const waiting: Gate[] = []
  const late: (() => Promise<void>)[] = []
  let announce = ignore

  async function through<T>(execute: () => Promise<T>, fault: Fault, resends: boolean): Promise<T> {
    const lineCut = new Error(LINE_CUT)
    switch (fault) {
      case 'none':
        return execute()
      case 'lose_answer':
        await execute()
        throw lineCut
      case 'lose_command':
        throw lineCut
      case 'late':
        late.push(() => execute().then(ignore, ignore))
        throw lineCut
      case 'twice_first': {
        if (!resends) return execute()
        const answer = await execute()
        await execute()
        return answer
      }
      case 'twice_second':
        if (resends) await execute()
        return execute()
      case 'refuse':
        throw new Error(REFUSAL)
    }
  }

  return {
    waiting,
    late,
    pass(execute, resends) {
      return new Promise((resolve, reject) => {
        waiting.push({ run: (fault) => through(execute, fault, resends).then(resolve, reject) })
        announce()
      })
    },
    async arrival(ms) {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        announce = resolve
        timer = setTimeout(resolve, ms)
      })
      clearTimeout(timer)
    },
  }
}

function ignore(): void {}
