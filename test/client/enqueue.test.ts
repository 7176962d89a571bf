import { describe, expect } from 'vitest'
import { digestOf } from '../../src/contract/job.ts'
import type { JobInput } from '../../src/contract/job.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import { openPool } from '../../src/client/pools.ts'
import { QUEUED_ID, START } from '../../src/contract/stream-id.ts'
import { formatEntry } from '../../src/stream/entry.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { collect, endOf, only, readLog } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { test } from '../support/plain-queue.ts'

const BODY = { inputs: 'The same', parameters: { max_new_tokens: 3 } }

/** All that a pool holds, to tell whether anything has changed. */
async function contents(lab: Lab): Promise<unknown> {
  const keys = (await lab.redis.keys('*')).toSorted()
  return Promise.all(keys.map(async (key) => [key, await lab.redis.dump(key)]))
}

/** Writes `queued` as a producer does that dies before the queue has the job. */
async function writeQueuedOnly(lab: Lab, jobId: string, body: JobInput, deadlineMs = 60_000): Promise<void> {
  const acceptedAt = Date.now()
  const deadlineAt = acceptedAt + deadlineMs
  const entry = formatEntry(QUEUED_ID, 'queued', {
    digest: digestOf(body),
    accepted_at: acceptedAt,
    deadline_at: deadlineAt,
    queue_position: 0,
  })
  const log = createEventLog(lab.redis, KEYS)
  await log.write({ jobId, expect: START, entries: [entry], deadlineAt, retentionMs: 60_000 })
}

describe('the same id', () => {
  test('with the same body is the first job again, whatever the order of its keys', async ({ lab }) => {
    const client = await lab.client()
    const first = await client.enqueue(BODY, { jobId: 'again' })
    const { inputs, parameters } = BODY
    const second = await client.enqueue({ parameters, inputs }, { jobId: 'again' })
    expect([first.existing, second]).toEqual([false, { job_id: 'again', queue_position: 0, existing: true }])
    expect(await client.waiting()).toMatchObject({ interactive: 1 })
    const replica = await lab.replica()
    await lab.worker(replica)
    const events = await collect(client, 'again')
    endOf(events)
    // Over, it is still the first job, and it is not run again.
    expect(await client.enqueue(BODY, { jobId: 'again' })).toMatchObject({ existing: true })
    expect(await client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
    expect(await readLog(lab.redis, KEYS, 'again')).toEqual(events)
    expect(replica.seen.requests).toHaveLength(1)
  })

  test('from ten producers at once is one job', async ({ lab }) => {
    const clients = await Promise.all([lab.client(), lab.client()])
    const admissions = await Promise.all(
      Array.from({ length: 10 }, (_, n) => (clients[n % 2] ?? clients[0]).enqueue(BODY, { jobId: 'once' })),
    )
    expect(admissions.filter(({ existing }) => !existing)).toHaveLength(1)
    expect(await clients[0].waiting()).toMatchObject({ interactive: 1 })
    const replica = await lab.replica()
    await lab.worker(replica)
    endOf(await collect(clients[1], 'once'))
    expect(replica.seen.requests).toHaveLength(1)
  })

  test('with another body is refused and changes nothing', async ({ lab }) => {
    const client = await lab.client()
    await client.enqueue(BODY, { jobId: 'mine' })
    const before = await contents(lab)
    await expect(client.enqueue({ ...BODY, inputs: 'Other' }, { jobId: 'mine' })).rejects.toMatchObject({
      kind: 'ID_CONFLICT',
      retriable: false,
      message: expect.not.stringContaining('Other'),
    })
    expect(await contents(lab)).toEqual(before)
  })

  test('as a job of another producer that wrote no events is refused and changes nothing', async ({
    lab,
    queue,
  }) => {
    const client = await lab.client()
    await queue.add('generate', { v: 1, ...BODY }, { jobId: 'theirs', priority: 10 })
    const before = await contents(lab)
    await expect(client.enqueue(BODY, { jobId: 'theirs' })).rejects.toMatchObject({ kind: 'ID_CONFLICT' })
    expect(await contents(lab)).toEqual(before)
  })

  test('in another pool is another job', async ({ lab }) => {
    const here = await lab.client()
    const there = await lab.client({}, 'there')
    await here.enqueue(BODY, { jobId: 'twin' })
    expect(await there.enqueue({ ...BODY, inputs: 'Other' }, { jobId: 'twin' })).toMatchObject({
      existing: false,
    })
  })
})

describe('a producer that died before the queue had its job', () => {
  test('is completed by the same call again', async ({ lab }) => {
    const client = await lab.client()
    await writeQueuedOnly(lab, 'half', BODY)
    expect(await client.waiting()).toMatchObject({ interactive: 0 })
    expect(await client.enqueue(BODY, { jobId: 'half' })).toMatchObject({ existing: true })
    expect(await client.waiting()).toMatchObject({ interactive: 1 })
    await lab.worker(await lab.replica())
    const events = await collect(client, 'half')
    endOf(events)
    expect(only(events, 'queued')).toHaveLength(1)
  })

  test('leaves a job that its deadline ends', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    await writeQueuedOnly(lab, 'half', BODY, 200)
    await expect(client.result('half')).rejects.toMatchObject({ kind: 'DEADLINE_UNMET' })
  })

  test('leaves a job that can be cancelled, and is then not put in any more', async ({ lab }) => {
    const client = await lab.client()
    await writeQueuedOnly(lab, 'half', BODY)
    expect(await client.cancel('half')).toBe('cancelled')
    await client.enqueue(BODY, { jobId: 'half' })
    expect(await client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
  })
})

describe('a job whose id is made', () => {
  test('is in the stream before it is in the queue, whatever the server knows of our scripts', async ({
    lab,
    queue,
  }) => {
    const client = await lab.client()
    await client.enqueue(BODY)
    await lab.redis.script('FLUSH')
    // BullMQ's own are known, so that nothing holds its command up.
    await queue.add('generate', BODY, { jobId: 'other', priority: 10 })
    const monitor = await lab.redis.monitor()
    const seen: string[] = []
    monitor.on('monitor', (_time, args: string[]) => void seen.push(args.join(' ')))
    const { job_id: jobId } = await client.enqueue(BODY)
    await expect.poll(() => seen.some((line) => line.includes(`deadlines`))).toBe(true)
    monitor.disconnect()
    const scripts = seen.filter((line) => line.toLowerCase().startsWith('eval') && line.includes(jobId))
    expect(scripts.map((line) => line.includes(KEYS.events(jobId)))).toEqual([true, false, false])
  })

  test('is not left in the queue when its event cannot be written', async ({ lab }) => {
    const url = new URL(lab.redisUrl)
    ;[url.username, url.password] = ['no-events', 'secret']
    await lab.client()
    await lab.redis.acl('SETUSER', 'no-events', 'on', '>secret', '&*', '+@all', `~${KEYS.queuePrefix}:jobs:*`)
    await lab.redis.acl('SETUSER', 'no-events', `~${KEYS.queuePrefix}:batch:*`, `~${KEYS.bytes}`)
    await lab.redis.acl('SETUSER', 'no-events', `~${KEYS.config}`, `~${KEYS.replicas}`)
    const limited = await openPool({ redisUrl: url.href, pool: POOL })
    try {
      await expect(limited.enqueue(BODY)).rejects.toThrow('does not allow')
      expect(await limited.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
    } finally {
      await limited.close()
      await lab.redis.acl('DELUSER', 'no-events')
    }
  })
})

describe('what is refused', () => {
  test('a pool that nobody has made, with the names of those that are there', async ({ lab }) => {
    await lab.client()
    const stranger = await openPool({ redisUrl: lab.redisUrl, pool: 'typo' })
    await expect(stranger.enqueue(BODY)).rejects.toMatchObject({
      kind: 'POOL_UNAVAILABLE',
      retriable: true,
      message: expect.stringContaining(POOL),
    })
    expect(await lab.redis.keys(`${poolKeys('typo').queuePrefix}:*`)).toEqual([])
    await stranger.close()
  })

  test('a job more than the queue may hold, until one has left', async ({ lab }) => {
    const client = await lab.client({ max_queued: 2 })
    await client.enqueue(BODY, { jobId: 'one' })
    await client.enqueue(BODY, { jobId: 'two' })
    const before = await contents(lab)
    await expect(client.enqueue(BODY)).rejects.toMatchObject({
      kind: 'ADMISSION_REJECT',
      retriable: true,
      retryAfterMs: expect.any(Number),
    })
    expect(await contents(lab)).toEqual(before)
    expect(await client.enqueue(BODY, { jobId: 'one' })).toMatchObject({ existing: true })
    await client.cancel('two')
    expect(await client.enqueue(BODY)).toMatchObject({ existing: false, queue_position: 1 })
  })

  test('batch jobs have a bound of their own, and interactive ones go on beside a full batch queue', async ({
    lab,
  }) => {
    const client = await lab.client({ max_queued: 1, batch_max_queued: 2 })
    const batch = { ...BODY, priority: 'batch' } as const
    const positions = []
    for (const jobId of ['one', 'two'])
      positions.push((await client.enqueue(batch, { jobId })).queue_position)
    await expect(client.enqueue(batch)).rejects.toMatchObject({
      kind: 'ADMISSION_REJECT',
      message:
        "the batch queue of pool lab is full: 2 jobs are waiting, the limit is 2 (the pool's batch_max_queued)",
    })
    expect(await client.enqueue(BODY)).toMatchObject({ queue_position: 0 })
    await expect(client.enqueue(BODY)).rejects.toMatchObject({
      message: expect.stringContaining("(the pool's max_queued)"),
    })
    await client.cancel('two')
    // Interactive ones are ahead of it, and the batch jobs that came before.
    expect([...positions, (await client.enqueue(batch)).queue_position]).toEqual([0, 1, 2])
  })

  test('many at once never exceed what a pool may hold in bytes, and it is free again when they are over', async ({
    lab,
  }) => {
    const client = await lab.client({ max_queued_bytes: 100_000 })
    const large = { inputs: 'x'.repeat(9_950), parameters: { max_new_tokens: 1 } }
    const kinds = ['interactive', 'batch'] as const
    const settled = await Promise.allSettled(
      Array.from({ length: 30 }, (_, n) => client.enqueue({ ...large, priority: kinds[n % 2] ?? 'batch' })),
    )
    const refused = settled.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as unknown] : [],
    )
    expect(refused).toHaveLength(21)
    expect(refused[0]).toMatchObject({
      kind: 'ADMISSION_REJECT',
      retryAfterMs: 1000,
      message: expect.stringMatching(
        /^pool lab is full: its jobs hold \d+ bytes and this one adds 1\d{4}, the limit is 100000 \(the pool's max_queued_bytes\)$/,
      ),
    })
    await expect(client.enqueue(large)).rejects.toMatchObject({ kind: 'ADMISSION_REJECT' })
    // What fits beside them is taken.
    await expect(client.enqueue({ inputs: 'x' })).resolves.toBeDefined()
    await lab.worker(await lab.replica())
    await expect.poll(() => lab.redis.hgetall(KEYS.bytes)).toEqual({ ':total': '0' })
    expect(await client.enqueue(large)).toMatchObject({ existing: false })
  })

  test('a job that no queue of the pool can ever hold, for good', async ({ lab }) => {
    const client = await lab.client({ max_queued_bytes: 100 })
    await expect(client.enqueue({ inputs: 'x'.repeat(200) })).rejects.toMatchObject({
      kind: 'INVALID_PARAMS',
      message: expect.stringMatching(/at most 100 bytes \(the pool's max_queued_bytes\), got 2\d\d/),
    })
  })

  test('a job that would start after its deadline, once the pool knows its pace', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ tokensPerSecond: 400 }), { slots: 1 })
    const short = { inputs: 'short', parameters: { max_new_tokens: 10 } }
    const hurried = { ...short, deadline_ms: 1 }
    const run = async (count: number) =>
      Promise.all(
        Array.from({ length: count }, async () => client.result((await client.enqueue(short)).job_id)),
      )
    await run(19)
    const count = async () => (await client.replicas())[0]?.job_count
    await expect.poll(count).toBe(19)
    const hog = { inputs: 'long', parameters: { max_new_tokens: 40_000 }, on_interrupt: 'fail' } as const
    const first = await client.enqueue(hog)
    await expect.poll(async () => (await client.job(first.job_id)).state).toBe('started')
    await client.enqueue(short, { jobId: 'waits' })
    // Nineteen jobs are too few to refuse anybody.
    expect(await client.enqueue(hurried)).toMatchObject({ existing: false })
    await client.cancel(first.job_id)
    await run(1)
    await expect.poll(count).toBeGreaterThanOrEqual(20)
    const second = await client.enqueue(hog)
    await expect.poll(async () => (await client.job(second.job_id)).state).toBe('started')
    await client.enqueue(short, { jobId: 'waits-too' })
    await expect
      .poll(() => client.enqueue(hurried).catch((error: unknown) => error), { interval: 300 })
      .toMatchObject({
        kind: 'DEADLINE_UNMET',
        ofJob: false,
        status: 429,
        retriable: true,
        retryAfterMs: 1000,
        message: expect.stringMatching(
          /^pool lab: a job enqueued now would start in about .* m?s, after its deadline of 1 ms \(\d+ jobs are ahead of it; forecast from the last \d+ jobs\)\. Give it a longer deadline_ms or priority batch/,
        ),
      })
    await expect(client.enqueue(hurried, { jobId: 'refused' })).rejects.toMatchObject({
      kind: 'DEADLINE_UNMET',
    })
    expect(await client.has('refused')).toBe(false)
    // What was accepted is answered again, and who has the time is taken.
    expect(await client.enqueue(short, { jobId: 'waits-too' })).toMatchObject({ existing: true })
    expect(await client.enqueue(short)).toMatchObject({ existing: false })
    expect(await client.enqueue({ ...short, priority: 'batch' })).toMatchObject({ existing: false })
  })

  test.for([
    {
      name: 'an unknown parameter',
      body: { inputs: 'x', parameters: { tempreature: 1 } },
      says: 'tempreature',
    },
    { name: 'an unknown field', body: { inputs: 'x', proirity: 'batch' }, says: 'proirity' },
    { name: 'no prompt', body: {}, says: 'neither' },
    { name: 'an empty prompt', body: { inputs: '' }, says: 'inputs' },
    { name: 'two prompts', body: { inputs: 'x', messages: [{ role: 'user', content: 'x' }] }, says: 'both' },
    { name: 'a deadline of nothing', body: { inputs: 'x', deadline_ms: 0 }, says: 'deadline_ms' },
    { name: 'a field whose time has not come', body: { inputs: 'x', placement: {} }, says: 'placement' },
    { name: 'several answers', body: { inputs: 'x', parameters: { best_of: 2 } }, says: 'best_of' },
    {
      name: 'more tokens than the pool allows',
      body: { inputs: 'x', parameters: { max_new_tokens: 101 } },
      says: '100',
    },
    { name: 'a prompt too big', body: { inputs: 'secret'.repeat(200) }, says: '1000' },
    { name: 'a prompt too big in bytes', body: { inputs: '🙂'.repeat(251) }, says: '1004' },
    {
      name: 'messages too big',
      body: { messages: [{ role: 'user', content: 'secret'.repeat(200) }] },
      says: 'messages',
    },
  ])('$name, by name and without the prompt', async ({ body, says }, { lab }) => {
    const client = await lab.client({ max_max_new_tokens: 100, max_input_bytes: 1000, max_new_tokens: 10 })
    const before = await contents(lab)
    // A body from outside is whatever it is.
    await expect(client.enqueue(body as JobInput)).rejects.toMatchObject({
      kind: 'INVALID_PARAMS',
      message: expect.stringMatching(new RegExp(`^(?!.*secret).*${says}`)),
    })
    expect(await contents(lab)).toEqual(before)
  })

  test.for(['', '123', 'wait', 'meta', 'a:b', '-x', 'x'.repeat(129), 'ü'])(
    'the job id %j',
    async (jobId, { lab }) => {
      const client = await lab.client()
      const before = await contents(lab)
      await expect(client.enqueue(BODY, { jobId })).rejects.toMatchObject({ kind: 'INVALID_PARAMS' })
      expect(await contents(lab)).toEqual(before)
    },
  )

  test('everything, with its name, when Redis is not there', async ({ lab }) => {
    const client = await lab.client()
    await lab.client()
    await client.close()
    await expect(client.enqueue(BODY)).rejects.toMatchObject({ kind: 'REDIS_UNAVAILABLE', retriable: true })
    await expect(openPool({ redisUrl: 'redis://127.0.0.1:1', pool: POOL })).rejects.toMatchObject({
      kind: 'REDIS_UNAVAILABLE',
    })
  })
})

describe('an id of ours', () => {
  test('is not to be guessed', async ({ lab }) => {
    const client = await lab.client()
    const ids = await Promise.all(Array.from({ length: 20 }, async () => (await client.enqueue(BODY)).job_id))
    expect(new Set(ids).size).toBe(20)
    for (const id of ids)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })
})
