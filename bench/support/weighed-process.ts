import { startChild } from './child.ts'

/** A process on the scales. */
export interface Weight {
  readonly rssBytes: number
  /** JavaScript's heap in use, garbage included unless it was collected first. */
  readonly heapBytes: number
  /** Processor time used so far, user and system. */
  readonly cpuMicros: number
  /** How much it has under way. */
  readonly busy: number
  /** Commands it has sent to Redis, if it counts them. */
  readonly commands: number
}

/** What its parent asks. */
export interface WeighMessage {
  readonly collect: boolean
  /** What it is to do, in place of being weighed. */
  readonly order?: string | undefined
}

/** What it tells. */
export type WeighedMessage =
  | { readonly kind: 'ready'; readonly url: string }
  | ({ readonly kind: 'weight' } & Weight)
  | { readonly kind: 'answer'; readonly value: unknown }

/** A script of ours in a process of its own, that can be weighed. */
export interface WeighedProcess {
  /** Where it listens; empty when it does not. */
  readonly url: string
  readonly pid: number
  /** `collect`: throw the garbage away first, which tells what is really held. */
  weigh(collect?: boolean): Promise<Weight>
  /** Has it do something that its script knows by this name; resolves with its answer. One at a time. */
  order(what: string): Promise<unknown>
  /** Without a word to it: SIGKILL. Resolves when it is gone. */
  kill(): Promise<void>
  stop(): Promise<void>
}

/** Which script, and what it is told: one JSON argument. It has to call `serveParent`. */
export interface WeighedOptions {
  readonly script: URL
  readonly settings: object
  readonly nodeFlags?: readonly string[] | undefined
}

/** How the image runs Node (ops/Dockerfile): for the processes of ours, and of others that are held against them. */
export const IMAGE_FLAGS = ['--max-semi-space-size=8', '--max-old-space-size=1024']

/** Starts it; resolves when it says that it is ready. */
export async function startWeighedProcess(options: WeighedOptions): Promise<WeighedProcess> {
  const ready = Promise.withResolvers<string>()
  let weighing: PromiseWithResolvers<Weight> | undefined
  let ordering: PromiseWithResolvers<unknown> | undefined
  const child = startChild({
    script: options.script,
    argument: JSON.stringify(options.settings),
    nodeFlags: ['--expose-gc', ...(options.nodeFlags ?? [])],
    onMessage(value) {
      // From our own child, whose type is the message's.
      const message = value as WeighedMessage
      if (message.kind === 'ready') ready.resolve(message.url)
      else if (message.kind === 'answer') ordering?.resolve(message.value)
      else weighing?.resolve(message)
    },
    onFault(error) {
      ready.reject(error)
      weighing?.reject(error)
      ordering?.reject(error)
    },
  })
  const url = await ready.promise
  return {
    url,
    pid: child.pid,
    weigh(collect = false) {
      weighing = Promise.withResolvers()
      child.send({ collect } satisfies WeighMessage)
      return weighing.promise
    },
    order(what) {
      ordering = Promise.withResolvers()
      child.send({ collect: false, order: what } satisfies WeighMessage)
      return ordering.promise
    },
    kill: () => child.kill(),
    stop: () => child.stop(),
  }
}
