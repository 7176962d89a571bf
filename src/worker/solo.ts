import { unlessAborted } from '../runtime/unless-aborted.ts'

/** One attempt's way to be alone. */
interface SoloPass {
  /** Resolves when every other attempt of the worker is over, or waits here as well. Throws the signal's reason. */
  enter(signal: AbortSignal): Promise<void>
  /** The attempt is over, whether or not it entered. */
  leave(): void
}

/** Lets one attempt at a time have its replica for itself: what runs beside a request may change its tokens. */
export interface Solo {
  /** Somebody is alone or waits for it: nothing new may begin. */
  readonly wanted: boolean
  pass(): SoloPass
}

/** What it stands on. */
export interface SoloOptions {
  /** How many attempts are under way, those that wait here included. */
  readonly busy: () => number
  /** `wanted` has changed. */
  readonly onChange: () => void
}

/** Nobody is alone yet. First come, first served. */
export function createSolo({ busy, onChange }: SoloOptions): Solo {
  let waiting: { readonly pass: SoloPass; readonly grant: () => void }[] = []
  let holder: SoloPass | undefined

  const wanted = () => holder !== undefined || waiting.length > 0

  function admit(): void {
    const [first, ...others] = waiting
    if (holder !== undefined || first === undefined || busy() > waiting.length) return
    waiting = others
    holder = first.pass
    first.grant()
  }

  function changing(change: () => void): void {
    const before = wanted()
    change()
    admit()
    if (wanted() !== before) onChange()
  }

  return {
    get wanted() {
      return wanted()
    },
    pass() {
      const pass: SoloPass = {
        async enter(signal) {
          signal.throwIfAborted()
          const { promise, resolve } = Promise.withResolvers<void>()
          changing(() => waiting.push({ pass, grant: resolve }))
          await unlessAborted(promise, signal)
        },
        leave() {
          changing(() => {
            waiting = waiting.filter((other) => other.pass !== pass)
            if (holder === pass) holder = undefined
          })
        },
      }
      return pass
    },
  }
}
