/**
 * `bullmq_xadd`: what a competent developer writes in an afternoon. A BullMQ worker calls the replica and awaits one XADD a
 * token (bullmq-xadd-child.ts); each reader has a connection of its own and blocks in XREAD.
 */
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { IMAGE_FLAGS, startWeighedProcess } from '../support/weighed-process.ts'
import type { OnToken, Reading, Rival, RivalSettings } from './rival.ts'

/** A job, as its producer puts it in the queue. */
export interface AfternoonJob {
  readonly tag: string
  readonly tokens: number
}

/** An entry of its stream, as JSON in the field `data`. */
export type AfternoonEvent =
  | { readonly type: 'token'; readonly index: number; readonly text: string }
  | { readonly type: 'end'; readonly text: string }
  | { readonly type: 'error'; readonly message: string }

/** The key of a job's stream. */
export function afternoonKey(tag: string): string {
  return `afternoon:${tag}`
}

/** Starts a worker. */
export async function startBullmqXadd(settings: RivalSettings): Promise<Rival> {
  const server = await startWeighedProcess({
    script: new URL('bullmq-xadd-child.ts', import.meta.url),
    settings,
    nodeFlags: IMAGE_FLAGS,
  })
  const connection = new Redis(settings.redisUrl, { maxRetriesPerRequest: null })
  const queue = new Queue<AfternoonJob>('generate', { connection })
  queue.on('error', () => undefined)
  return {
    name: 'bullmq_xadd',
    server,
    helpers: [],
    ask: (tag, tokens, onToken) =>
      read(settings.redisUrl, tag, onToken, '0', () =>
        queue.add('generate', { tag, tokens }, { jobId: tag, removeOnComplete: true, removeOnFail: true }),
      ),
    readAll: (tag, onToken) => read(settings.redisUrl, tag, onToken, '0'),
    leftovers: afternoonKey('*'),
    async stop() {
      await queue.close()
      connection.disconnect()
      await server.stop()
    },
  }
}

function read(
  redisUrl: string,
  tag: string,
  onToken: OnToken,
  after: string,
  before?: () => Promise<unknown>,
): Reading {
  const redis = new Redis(redisUrl)
  redis.on('error', () => undefined)
  let cursor = after
  let left = false
  const follow = async () => {
    await before?.()
    for (;;) {
      const reply = await redis.xread('BLOCK', 5000, 'STREAMS', afternoonKey(tag), cursor)
      for (const [id, fields] of reply?.[0]?.[1] ?? []) {
        if (left) return
        cursor = id
        const event = JSON.parse(fields[1] ?? '') as AfternoonEvent
        if (event.type === 'end') return
        if (event.type === 'error') throw new Error(event.message)
        onToken(event.text)
      }
    }
  }
  return {
    ended: follow()
      .catch((error: unknown) => {
        if (!left) throw error
      })
      .finally(() => redis.disconnect()),
    leave() {
      left = true
      redis.disconnect()
    },
    comeBack: (told) => read(redisUrl, tag, told, cursor),
  }
}
