/** The child's side of {@link startWeighedProcess}: what is put on the scales. */
import { subscribe } from 'node:diagnostics_channel'
import type { WeighMessage, WeighedMessage } from './weighed-process.ts'

/** What a process has to say of itself. */
export interface WeighedThing {
  /** Where it listens, if it does. */
  readonly url?: string | undefined
  /** How much it has under way. */
  busy(): number
  /** Does what it is told and answers. */
  order?: ((what: string) => unknown) | undefined
  /** Ends it; the process ends when nothing is left. */
  stop(): Promise<void>
}

/** Commands sent to Redis by this process since {@link countCommands}. */
let commands = 0

/** Counts the commands that ioredis sends from now on (ioredis 6.0, built/tracing.js), at the price of tracing each. */
export function countCommands(): void {
  subscribe('tracing:ioredis:command:start', () => {
    commands += 1
  })
}

function tell(message: WeighedMessage): void {
  // The parent may be gone; 'disconnect' then ends this process.
  if (process.connected) process.send?.(message, () => undefined)
}

/** Says that it is ready, answers each message of its parent with its weight, and ends when the parent lets go. */
export function serveParent(thing: WeighedThing): void {
  process.on('message', (message) => {
    // From our own parent, whose type is the message's.
    const asked = message as WeighMessage
    if (asked.order !== undefined) {
      void Promise.resolve(thing.order?.(asked.order)).then((value) => tell({ kind: 'answer', value }))
      return
    }
    if (asked.collect) globalThis.gc?.()
    const { rss, heapUsed } = process.memoryUsage()
    const { user, system } = process.cpuUsage()
    tell({
      kind: 'weight',
      rssBytes: rss,
      heapBytes: heapUsed,
      cpuMicros: user + system,
      busy: thing.busy(),
      commands,
    })
  })
  process.once('disconnect', () => void thing.stop())
  tell({ kind: 'ready', url: thing.url ?? '' })
}
