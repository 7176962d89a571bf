import type { WorkerOptions } from '../../src/worker/worker-options.ts'
import { startChild } from './child.ts'

/** Whom the worker serves. */
export type WorkerSettings = Pick<WorkerOptions, 'redisUrl' | 'pool' | 'replicaUrl' | 'slots'>

/** What the worker's process tells. */
export type WorkerMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'weight'; readonly rssBytes: number; readonly heapBytes: number; readonly busy: number }

/** What its parent asks. */
export interface WeighMessage {
  readonly collect: boolean
}

/** A worker's process on the scales. */
export interface Weight {
  readonly rssBytes: number
  /** JavaScript's heap in use, garbage included unless it was collected first. */
  readonly heapBytes: number
  /** Attempts under way. */
  readonly busy: number
}

/** A worker in a process of its own. */
export interface WorkerProcess {
  /** `collect`: throw the garbage away first, which tells what is really held. */
  weigh(collect?: boolean): Promise<Weight>
  stop(): Promise<void>
}

/** Starts it; resolves when it takes jobs. */
export async function startWorkerProcess(settings: WorkerSettings): Promise<WorkerProcess> {
  const ready = Promise.withResolvers<void>()
  let weighing: PromiseWithResolvers<Weight> | undefined
  const child = startChild({
    script: new URL('worker-child.ts', import.meta.url),
    argument: JSON.stringify(settings),
    nodeFlags: ['--expose-gc'],
    onMessage(value) {
      // From our own child, whose type is the message's.
      const message = value as WorkerMessage
      if (message.kind === 'ready') ready.resolve()
      else weighing?.resolve(message)
    },
    onFault(error) {
      ready.reject(error)
      weighing?.reject(error)
    },
  })
  await ready.promise
  return {
    weigh(collect = false) {
      weighing = Promise.withResolvers()
      child.send({ collect } satisfies WeighMessage)
      return weighing.promise
    },
    stop: () => child.stop(),
  }
}
