/** `direct`: the reader calls the replica itself. Nothing is kept: who leaves has lost the answer. */
import type { OnToken, Reading, Rival, RivalSettings } from './rival.ts'
import { tgiBody, tgiFrames } from './tgi-answers.ts'

/** Starts nothing. */
export function createDirect({ replicaUrl }: RivalSettings): Rival {
  function ask(tag: string, tokens: number, onToken: OnToken): Reading {
    const stop = new AbortController()
    const read = async () => {
      for await (const { token } of tgiFrames(replicaUrl, tgiBody(tag, tokens), stop.signal)) {
        if (stop.signal.aborted) return
        onToken(token.text)
      }
    }
    return {
      ended: read().catch((error: unknown) => {
        if (!stop.signal.aborted) throw error
      }),
      leave: () => stop.abort(),
      comeBack: nothing,
    }
  }
  return {
    name: 'direct',
    server: undefined,
    helpers: [],
    ask,
    readAll: nothing,
    leftovers: 'none',
    stop: () => Promise.resolve(),
  }
}

function nothing(): never {
  throw new Error('direct: there is nothing to come back to')
}
