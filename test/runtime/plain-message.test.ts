import { readFile, readdir } from 'node:fs/promises'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { freePort } from '../../src/redis/server.ts'
import { redisUnavailable } from '../../src/redis/fault.ts'
import { describeError } from '../../src/runtime/log.ts'

/** How a command fails on a connection that is away. */
async function failure(options: object): Promise<unknown> {
  const redis = new Redis({ port: await freePort(), host: '127.0.0.1', lazyConnect: true, ...options })
  redis.on('error', () => undefined)
  onTestFinished(() => redis.disconnect())
  return redis.ping().catch((error: unknown) => error)
}

test.for<[what: string, options: object]>([
  ['is tried again a few times', { maxRetriesPerRequest: 0 }],
  ['may not wait', { enableOfflineQueue: false }],
])('a command that %s says in plain words what is wrong', async ([, options]) => {
  const error = await failure(options)
  expect(error).toBeInstanceOf(Error)
  const { message } = describeError(error)
  expect(message).toMatch(/connection to Redis/)
  expect(message).not.toMatch(/retries per request|offline/i)
  expect(redisUnavailable('redis://127.0.0.1:1', error).message).not.toMatch(/retries per request|offline/i)
})

test('no log line is a bare word', async () => {
  const root = new URL('../../src/', import.meta.url)
  const files = (await readdir(root, { recursive: true })).filter((file) => file.endsWith('.ts'))
  const messages: string[] = []
  for (const file of files) {
    const text = await readFile(new URL(file, root), 'utf8')
    const calls = /(?:logger\.\w+|logger\[[^\]]+\]|faultLog)\((?:\{[^}]*\},|\w+,)?\s*['`]([^'`]+)['`]/g
    messages.push(...[...text.matchAll(calls)].map(([, message = '']) => message))
  }
  expect(messages.length).toBeGreaterThan(30)
  expect(messages.filter((message) => !message.includes(' '))).toEqual([])
})
