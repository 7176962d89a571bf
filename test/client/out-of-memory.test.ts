import type { Queue } from 'bullmq'
import { describe, expect } from 'vitest'
import { enqueueJob } from '../../src/client/enqueue.ts'
import type { EnqueuePorts } from '../../src/client/enqueue.ts'
import { createAdmissionBound } from '../../src/client/admission-bound.ts'
import { watchMemory } from '../../src/client/memory-watch.ts'
import { openJobQueue } from '../../src/queue/job-queue.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { collect, endOf, errorOf, only, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { test } from '../support/plain-queue.ts'

/** From now on Redis is above its limit, whatever it holds. */
async function fill({ redis }: Lab): Promise<void> {
  await redis.config('SET', 'maxmemory', '1')
  await expect(redis.set('another', 'value')).rejects.toThrow(/^OOM/)
}

async function free({ redis }: Lab): Promise<void> {
  await redis.config('SET', 'maxmemory', '0')
}

/** Adds a job with plain BullMQ. */
async function addPlain(queue: Queue): Promise<string> {
  const { id = '' } = await queue.add('generate', JOB, { jobId: 'plain' })
  return id
}

const FULL = { kind: 'ADMISSION_REJECT', retriable: true, status: 429, retryAfterMs: 1000 }
const JOB = { inputs: 'x', parameters: { max_new_tokens: 5 } }
const LONG_JOB = { inputs: 'x', parameters: { max_new_tokens: 200 } }

describe('while Redis is out of memory', () => {
  test('jobs run and end, new ones are refused, and all goes on by itself when memory is free', async ({
    lab,
    queue,
  }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 100 })
    await lab.worker(replica, { slots: 1 })
    const { job_id: running } = await client.enqueue(LONG_JOB)
    await tokensIn(lab.redis, KEYS, running)
    const { job_id: waiting } = await client.enqueue(JOB)
    const { job_id: batch } = await client.enqueue({ ...JOB, priority: 'batch' })
    const plain = await addPlain(queue)
    await fill(lab)
    await expect(queue.add('generate', JOB)).rejects.toThrow(/^OOM/)
    await expect(client.enqueue(JOB)).rejects.toMatchObject(FULL)
    clock.run()
    for (const id of [running, waiting, batch, plain]) {
      const events = await collect(client, id)
      endOf(events)
      expect(only(events, 'started')).toHaveLength(1)
    }
    await expect.poll(() => client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
    await free(lab)
    await expect.poll(() => client.enqueue(JOB, { jobId: 'next' }).catch(() => undefined)).toBeDefined()
    endOf(await collect(client, 'next'))
  })

  test('jobs are cancelled and forgotten, whether they wait, run or are over', async ({ lab, queue }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 100 })
    const ids: string[] = []
    for (let n = 0; n < 6; n += 1) ids.push((await client.enqueue(LONG_JOB)).job_id)
    const [over = '', ran = '', erased = '', waited = '', left = '', rest = ''] = ids
    const plain = await addPlain(queue)
    await client.cancel(over)
    const worker = await lab.worker(replica, { slots: 2 })
    await expect.poll(() => worker.busy).toBe(2)
    await fill(lab)
    for (const id of [ran, left, plain]) expect(await client.cancel(id)).toBe('cancelled')
    expect(await client.cancel(over)).toBe('already_over')
    for (const id of [over, erased, waited]) await client.forget(id)
    for (const id of [ran, left, plain])
      expect(errorOf(await readLog(lab.redis, KEYS, id)).code).toBe('CANCELLED')
    for (const id of [over, erased, waited]) {
      await expect(client.job(id)).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
      expect(await lab.redis.keys(`*${id}*`)).toEqual([])
    }
    clock.run()
    endOf(await collect(client, rest))
    await expect.poll(() => lab.redis.hgetall(KEYS.bytes)).toEqual({ ':total': '0' })
  })

  test('jobs are handed over, and a worker starts, drains and stops', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const first = await lab.worker(await lab.replica({ clock, tokensPerSecond: 100 }), { replicaId: 'a' })
    const { job_id: moved } = await client.enqueue(LONG_JOB)
    const { job_id: delayed } = await client.enqueue(JOB)
    await tokensIn(lab.redis, KEYS, moved)
    await fill(lab)
    await client.drain('a', { graceMs: 0 })
    await lab.worker(await lab.replica({ faults: [{ kind: 'generation-error', after: 2, times: 1 }] }))
    const events = await collect(client, moved)
    expect(endOf(events)).toMatchObject({ tokens_out: 200 })
    endOf(await collect(client, delayed))
    await client.undrain('a')
    await first.stop()
    expect(await client.set({ retention_ms: 60_000 })).toMatchObject({ retention_ms: 60_000 })
    await free(lab)
  })

  test('deadlines end jobs, those of plain BullMQ producers, too', async ({ lab, queue }) => {
    const client = await lab.client({ deadline_ms: 1500 })
    const { job_id: ours } = await client.enqueue(JOB)
    const plain = await addPlain(queue)
    await fill(lab)
    for (const id of [ours, plain])
      expect(errorOf(await collect(client, id))).toMatchObject({ code: 'DEADLINE_UNMET' })
  })
})

/** What enqueueing works with, by a process that does not know how full Redis is. */
async function portsOf(lab: Lab): Promise<EnqueuePorts> {
  await lab.client()
  return {
    redis: lab.redis,
    keys: KEYS,
    log: createEventLog(lab.redis, KEYS),
    queue: openJobQueue(lab.redis, KEYS),
    bound: createAdmissionBound(),
    memory: watchMemory(async () => undefined),
    forecast: { predict: async () => undefined },
  }
}

const BY_REDIS = { ...FULL, message: expect.stringContaining('Redis is out of memory and takes no new jobs') }

type Add = EnqueuePorts['queue']['add']
type Write = EnqueuePorts['log']['write']

/** The same, with another way to add to the queue. */
function addingBy(
  ports: EnqueuePorts,
  add: (real: Add, ...args: Parameters<Add>) => Promise<void>,
): EnqueuePorts {
  return {
    ...ports,
    queue: { ...ports.queue, add: (...args) => add((...real) => ports.queue.add(...real), ...args) },
  }
}

/** The same, where Redis is full while the first event is written, from when `turn` resolves. */
function fullForEvents(lab: Lab, ports: EnqueuePorts, turn?: Promise<void>): EnqueuePorts {
  const write: Write = async (request) => {
    await turn
    await fill(lab)
    try {
      return await ports.log.write(request)
    } finally {
      await free(lab)
    }
  }
  return { ...ports, log: { ...ports.log, write } }
}

/** The same, where Redis is full from when a job is added. */
function fullForBodies(lab: Lab, ports: EnqueuePorts): EnqueuePorts {
  return addingBy(ports, async (add, ...args) => {
    await fill(lab)
    return add(...args)
  })
}

describe('a job that Redis itself has no memory for', () => {
  test('is refused and leaves nothing', async ({ lab }) => {
    const ports = await portsOf(lab)
    await fill(lab)
    await expect(enqueueJob(ports, JOB)).rejects.toMatchObject(BY_REDIS)
    await expect(enqueueJob(ports, JOB, { jobId: 'mine' })).rejects.toMatchObject(BY_REDIS)
    const { bytes, pools, queuePrefix } = KEYS
    const metas = ['jobs', 'batch'].map((name) => `${queuePrefix}:${name}:meta`)
    expect((await lab.redis.keys('*')).toSorted()).toEqual([bytes, pools, ...metas].toSorted())
    expect(await lab.redis.hgetall(bytes)).toEqual({ ':total': '0' })
    await free(lab)
    expect(await enqueueJob(ports, JOB, { jobId: 'mine' })).toMatchObject({ existing: false })
  })

  test('after its first event was written is over, and counted as that', async ({ lab }) => {
    const ports = await portsOf(lab)
    await expect(enqueueJob(fullForBodies(lab, ports), JOB)).rejects.toMatchObject(BY_REDIS)
    expect(await lab.redis.keys(`${KEYS.queuePrefix}:jobs:*`)).toEqual([`${KEYS.queuePrefix}:jobs:meta`])
    expect(await lab.redis.zcard(KEYS.deadlines)).toBe(0)
    expect(await lab.redis.hgetall(KEYS.bytes)).toEqual({ ':total': '0' })
    const [failed = ''] = await lab.redis.zrange(KEYS.index('failed'), 0, '-1')
    expect(errorOf(await readLog(lab.redis, KEYS, failed)).code).toBe('ADMISSION_REJECT')
  })

  test('under an id of its own is completed when it comes again', async ({ lab }) => {
    const ports = await portsOf(lab)
    const mine = { jobId: 'mine' }
    await expect(enqueueJob(fullForBodies(lab, ports), JOB, mine)).rejects.toMatchObject(BY_REDIS)
    await free(lab)
    expect(await enqueueJob(ports, JOB, mine)).toMatchObject({ job_id: 'mine', existing: true })
    expect(await ports.queue.holds('mine')).toBe(true)
  })

  test('but only for its first event is taken out of the queue again', async ({ lab }) => {
    const ports = await portsOf(lab)
    const refused = Promise.withResolvers<void>()
    const full = fullForEvents(lab, ports)
    const log: EnqueuePorts['log'] = {
      ...full.log,
      write: (request) => full.log.write(request).finally(refused.resolve),
    }
    const late = addingBy({ ...full, log }, async (add, ...args) => {
      await refused.promise
      return add(...args)
    })
    await expect(enqueueJob(late, JOB)).rejects.toMatchObject(BY_REDIS)
    expect(await ports.queue.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
    expect(await lab.redis.keys(`${KEYS.queuePrefix}:events:*`)).toEqual([])
  })

  test('but which a worker has taken by then is accepted', async ({ lab }) => {
    const ports = await portsOf(lab)
    const worker = await lab.worker(await lab.replica({ clock: createManualClock(), tokensPerSecond: 100 }))
    const taken = Promise.withResolvers<void>()
    const added = addingBy(fullForEvents(lab, ports, taken.promise), async (add, ...args) => {
      await add(...args)
      await expect.poll(() => worker.busy).toBe(1)
      taken.resolve()
    })
    const { job_id: jobId } = await enqueueJob(added, JOB)
    await expect.poll(async () => only(await readLog(lab.redis, KEYS, jobId), 'started').length).toBe(1)
  })
})

describe('a job whose connection breaks before it was accepted', () => {
  test.for(['is lost on its way', 'has arrived'] as const)(
    'is over when Redis is back, if what it sent %s',
    async (what, { lab }) => {
      const ports = await portsOf(lab)
      const broken = addingBy(ports, async (add, ...args) => {
        if (what === 'has arrived') await add(...args)
        throw new Error('Connection is closed.')
      })
      await expect(enqueueJob(broken, JOB)).rejects.toThrow('Connection is closed.')
      await expect.poll(() => lab.redis.zcard(KEYS.index('failed'))).toBe(1)
      const [jobId = ''] = await lab.redis.zrange(KEYS.index('failed'), '0', '-1')
      await expect.poll(() => ports.queue.holds(jobId)).toBe(false)
      expect(await lab.redis.zcard(KEYS.index('queued'))).toBe(0)
      expect(await lab.redis.zcard(KEYS.deadlines)).toBe(0)
    },
  )
})
