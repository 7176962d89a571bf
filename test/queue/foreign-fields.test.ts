import type { Redis } from 'ioredis'
import { describe, expect } from 'vitest'
import { UnreadableBody } from '../../src/queue/job-body.ts'
import { putRawJob, rawJobKey } from '../support/raw-job.ts'
import type { RedisFixture } from '../support/redis.ts'
import { OVER, test } from './stage.ts'

const SECRET = 'canary-of-the-prompt'
const GOOD = JSON.stringify({ v: 1, inputs: 'x' })

const put = ({ redis, keys }: RedisFixture, id: string, fields: Readonly<Record<string, string>>) =>
  putRawJob(redis, keys, id, { data: GOOD, ...fields })

/** Keys of the queue that name the job or hold its prompt. */
async function traces(redis: Redis, id: string): Promise<string[]> {
  const found: string[] = []
  for (const key of await redis.keys('*')) {
    // BullMQ's own log of what happened names each job.
    if (key.endsWith(':events')) continue
    if (key.includes(id) || String(await redis.dumpBuffer(key)).includes(id)) found.push(key)
  }
  return found
}

const BAD_DATA: Readonly<Record<string, string>> = {
  'no JSON': SECRET,
  nothing: '',
  'JSON that breaks off': `{"inputs":"${SECRET}`,
  'two values': `{"inputs":"${SECRET}"} {}`,
  'too many values': `{"messages":[${'{},'.repeat(60_000)}{}]}`,
  'too deep': '['.repeat(100_000),
  'too large': `{"inputs":"${'a'.repeat(8_400_000)}"}`,
}

const ODD_FIELDS: Readonly<Record<string, Record<string, string>>> = {
  'opts that are no JSON': { opts: SECRET },
  'opts that are null': { opts: 'null' },
  'opts that keep the job': { opts: '{"removeOnComplete":false,"attempts":9,"backoff":{"type":"x"}}' },
  'opts with telemetry': { opts: '{"tm":5,"parent":{"id":5},"de":7}' },
  'progress that is no JSON': { progress: SECRET },
  'progress that is an array': { progress: '[[[' },
  'a parent that is no JSON': { parent: SECRET },
  'a parent that is null': { parent: 'null', parentKey: '' },
  'a parent that never was': { parent: '{"id":"p","queueKey":"q"}', parentKey: 'q:p' },
  'a result that is no JSON': { returnvalue: SECRET, stacktrace: SECRET, failedReason: SECRET },
  'a scheduler that never was': { rjk: 'repeat:me' },
  'a deduplication that never was': { deid: SECRET },
  'an id of another job': { id: 'other' },
  'a failure that never was': { defa: SECRET },
  'times that are none': { timestamp: 'now', delay: 'x', priority: 'high', processedOn: '-5' },
  'a thousand more fields': Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`f${at}`, SECRET])),
}

describe('a job whose fields somebody wrote by hand', () => {
  test.for(Object.entries(BAD_DATA))(
    'with %s as data is taken once, unreadable',
    async ([, data], { stage, redis }) => {
      await put(redis, 'odd', { data })
      await stage.queue.add('next', { inputs: 'x' }, 'interactive')
      const { runs, errors } = await stage.work()
      await expect.poll(() => runs.length).toBe(1)
      const body = runs[0]?.job.body
      expect(body).toBeInstanceOf(UnreadableBody)
      expect(body).toMatchObject({ message: expect.stringMatching(/^job: (?:expected|invalid JSON)/) })
      expect(JSON.stringify(body)).not.toContain(SECRET)
      runs[0]?.end(OVER)
      await expect.poll(() => runs.map(({ job }) => job.id)).toEqual(['odd', 'next'])
      await expect.poll(() => traces(redis.redis, 'odd')).toEqual([])
      expect(errors).toEqual([])
    },
  )

  test.for(Object.entries(ODD_FIELDS))(
    'with %s runs once like any other',
    async ([, fields], { stage, redis }) => {
      await put(redis, 'odd', fields)
      await stage.queue.add('next', { inputs: 'x' }, 'interactive')
      const { runs, errors } = await stage.work()
      await expect.poll(() => runs.length).toBe(1)
      expect(runs[0]?.job).toMatchObject({ id: 'odd', body: { inputs: 'x' }, handBacks: 0, deaths: 0 })
      // Handed back and taken again, as after an overload.
      runs[0]?.end({ kind: 'back', delayMs: 0, attempt: 'unharmed' })
      await expect.poll(() => runs.length).toBe(2)
      expect(runs[1]?.job).toMatchObject({ id: 'odd', handBacks: 1 })
      runs[1]?.end(OVER)
      await expect.poll(() => runs.map(({ job }) => job.id)).toEqual(['odd', 'odd', 'next'])
      await expect.poll(() => traces(redis.redis, 'odd')).toEqual([])
      expect(errors).toEqual([])
    },
  )

  test.for(['ats', 'stc'])(
    "with BullMQ's own counter %s below zero is unreadable",
    async (name, { stage, redis }) => {
      await put(redis, 'odd', { [name]: '-1000000' })
      const { runs } = await stage.work()
      await expect.poll(() => runs.length).toBe(1)
      expect(runs[0]?.job.body).toMatchObject({ message: expect.stringContaining(name) })
      runs[0]?.end(OVER)
      await expect.poll(() => stage.queue.holds('odd')).toBe(false)
    },
  )

  test('with a counter that is no number comes as soon as its lock is over', async ({ stage, redis }) => {
    await put(redis, 'odd', { ats: SECRET })
    await stage.queue.add('next', { inputs: 'x' }, 'interactive')
    const { runs, errors } = await stage.work()
    await expect.poll(() => runs.map(({ job }) => job.id)).toEqual(['next'])
    runs[0]?.end(OVER)
    await expect.poll(() => runs.map(({ job }) => job.id)).toEqual(['next', 'odd'])
    runs[1]?.end(OVER)
    await expect.poll(() => traces(redis.redis, 'odd')).toEqual([])
    expect(String(errors)).not.toContain(SECRET)
  })

  test('that is no job at all is dropped', async ({ stage, redis }) => {
    const key = rawJobKey(redis.keys, 'odd')
    await put(redis, 'odd', {})
    await redis.redis.multi().del(key).set(key, SECRET).exec()
    await stage.queue.add('next', { inputs: 'x' }, 'interactive')
    const { runs } = await stage.work()
    await expect.poll(() => runs.map(({ job }) => job.id)).toEqual(['next'])
    expect(await stage.queue.holds('odd')).toBe(false)
  })

  test.for([
    { hand_backs: 1_000_000 },
    { hand_backs: -1_000_000 },
    { hand_backs: '9' },
    { hand_backs: 1e300, failed_with: [SECRET, 7, 'x'.repeat(2000)] },
  ])('with %j in its memory has been handed back never', async (progress, { stage, redis }) => {
    await put(redis, 'odd', { progress: JSON.stringify(progress) })
    const { runs } = await stage.work()
    await expect.poll(() => runs.length).toBe(1)
    expect(runs[0]?.job).toMatchObject({ handBacks: 0, failedWith: [] })
    // A spent attempt that knows better: what was written is not believed a second time.
    runs[0]?.end({ kind: 'back', delayMs: 0, attempt: 'spent', handBacks: 0 })
    await expect.poll(() => runs.length).toBe(2)
    expect(runs[1]?.job).toMatchObject({ handBacks: 0, failedWith: [] })
    runs[1]?.end(OVER)
  })
})

describe('to remove a job whose fields somebody wrote by hand', () => {
  const PARTS: Readonly<Record<string, (redis: Redis, key: string) => Promise<unknown>>> = {
    'children that are no set': (redis, key) => redis.set(`${key}:dependencies`, SECRET),
    'children that never end': (redis, key) => redis.sadd(`${key}:dependencies`, 'x:y:z'),
    'a hash that is a text': async (redis, key) => {
      await redis.del(key)
      await redis.set(key, SECRET)
    },
  }
  test('leaves nothing of it', async ({ stage, redis }) => {
    for (const name of [...Object.keys(ODD_FIELDS), ...Object.keys(BAD_DATA), ...Object.keys(PARTS)]) {
      await put(redis, 'odd', ODD_FIELDS[name] ?? { data: BAD_DATA[name] ?? GOOD })
      await PARTS[name]?.(redis.redis, rawJobKey(redis.keys, 'odd'))
      expect(await stage.queue.remove('odd'), name).toBe(true)
      expect(await traces(redis.redis, 'odd'), name).toEqual([])
    }
  })

  test.for(Object.keys(PARTS).slice(0, 2))(
    'with %s that is over leaves nothing of it',
    async (name, { stage, redis }) => {
      await put(redis, 'odd', {})
      await PARTS[name]?.(redis.redis, rawJobKey(redis.keys, 'odd'))
      const { runs } = await stage.work()
      await expect.poll(() => runs.length).toBe(1)
      runs[0]?.end(OVER)
      await expect.poll(() => traces(redis.redis, 'odd')).toEqual([])
    },
  )
})
