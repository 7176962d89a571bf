import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { expect, onTestFinished } from 'vitest'
import { openPool } from '../../src/client/pools.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import { startWorker } from '../../src/worker/worker.ts'
import type { PoolWorker } from '../../src/worker/worker.ts'
import { test } from './stage.ts'
import type { AclRedis, Role } from './stage.ts'

const POOL = 'p'
const JOB = { inputs: 'hello', parameters: { max_new_tokens: 5 } }
const LONG = { inputs: 'hello', parameters: { max_new_tokens: 5000 } }

async function clientAs(acl: AclRedis, role: Role): Promise<PoolClient> {
  const client = await openPool({ redisUrl: acl.urlOf(role), pool: POOL })
  onTestFinished(() => client.close())
  return client
}

const PLAIN = { priority: 10, removeOnComplete: true, removeOnFail: true }

/** What a plain BullMQ producer does as a role. */
async function plainQueue(
  acl: AclRedis,
  role: Role,
  work: (queue: Queue) => Promise<unknown>,
): Promise<void> {
  const queue = new Queue('jobs', {
    connection: await acl.as(role),
    prefix: 'tgi-pool:{p}',
    skipMetasUpdate: true,
  })
  try {
    await work(queue)
  } finally {
    await queue.close()
  }
}

/** What the queues hold, and what they count. */
async function jobsIn({ admin }: AclRedis): Promise<{ waiting: number; bytes: number }> {
  const keys = await admin.keys('tgi-pool:{p}:*:*')
  const waiting = keys.filter(
    (key) => /:(jobs|batch):/.test(key) && !/:(meta|id|pc|marker|events)$/.test(key),
  )
  const hashes = await Promise.all(waiting.map((key) => admin.type(key)))
  const bytes = Number((await admin.hget('tgi-pool:{p}:bytes', ':total')) ?? 0)
  return { waiting: hashes.filter((type) => type === 'hash').length, bytes }
}

/** A worker whose replica takes nothing until it is undrained. */
async function drainedReplica(
  acl: AclRedis,
  operator: PoolClient,
): Promise<Awaited<ReturnType<typeof workerAs>>> {
  await acl.admin.hset('tgi-pool:{p}:drains', 'r1', JSON.stringify({ since: Date.now() }))
  const started = await workerAs(acl, 50, 'r1')
  await expect.poll(async () => (await operator.replicas())[0]?.state).toBe('draining')
  return started
}

/** A worker that has nothing but its role's rights, and what it had to complain of. */
async function workerAs(
  acl: AclRedis,
  tokensPerSecond = 0,
  replicaId?: string,
): Promise<{ worker: PoolWorker; complaints: string[] }> {
  const complaints: string[] = []
  const logger = pino({ level: 'warn' }, { write: (line: string) => void complaints.push(line) })
  const replica = await startSimulator({ tokensPerSecond, prefillMs: 0 })
  onTestFinished(() => replica.stop())
  const worker = await startWorker({
    redisUrl: acl.urlOf('worker'),
    pool: POOL,
    replicaUrl: replica.url,
    replicaId,
    probeMs: 100,
    logger,
  })
  onTestFinished(() => worker.stop(0))
  return { worker, complaints }
}

test('an operator makes a pool, a producer puts jobs in, a worker runs them and a consumer reads them', async ({
  acl,
}) => {
  const operator = await clientAs(acl, 'operator')
  await operator.create()
  await operator.set({ max_queued: 500 })
  const producer = await clientAs(acl, 'producer')
  const { job_id: id } = await producer.enqueue(JOB)
  // The same again, and a body that does not fit it.
  const again = { jobId: 'a-job-of-mine' }
  await producer.enqueue(JOB, again)
  expect(await producer.enqueue(JOB, again)).toMatchObject({ existing: true })
  await expect(producer.enqueue(LONG, again)).rejects.toMatchObject({ kind: 'ID_CONFLICT' })
  await producer.enqueue({ ...JOB, priority: 'batch' })

  const consumer = await clientAs(acl, 'consumer')
  expect(await consumer.job(id)).toMatchObject({ state: 'queued' })
  const reading = consumer.result(id)
  const { complaints } = await workerAs(acl)
  const { text } = await reading
  expect(text).not.toBe('')
  const events: string[] = []
  for await (const { event } of consumer.events(id, { after: '0-1' })) events.push(event)
  expect(events.at(-1)).toBe('end')
  expect(await consumer.job(id)).toMatchObject({ state: 'ended' })
  for (const unknown of ['no-such-job', 'nor-this'])
    await expect(consumer.result(unknown)).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
  await expect.poll(() => operator.replicas()).toMatchObject([{ state: 'ready' }])

  expect(complaints).toEqual([])
  expect(rights(await acl.refused())).toEqual([])
})

test('a consumer reads many jobs at once, and is told of a pool that is none', async ({ acl }) => {
  await (await clientAs(acl, 'operator')).create()
  const producer = await clientAs(acl, 'producer')
  const ids: string[] = []
  for (let at = 0; at < 5; at += 1) ids.push((await producer.enqueue(JOB)).job_id)
  const consumer = await clientAs(acl, 'consumer')
  const first = consumer.result(ids[0] ?? '')
  // A read that blocks already is interrupted to add the others.
  const events = consumer.events(ids[1] ?? '')
  expect((await events.next()).value).toMatchObject({ event: 'queued' })
  const next = events.next()
  const others = ids.slice(2).map((id) => consumer.result(id))
  await workerAs(acl)
  for (const { text } of await Promise.all([first, ...others])) expect(text).not.toBe('')
  expect((await next).value).toMatchObject({ event: 'started' })
  await events.return()

  for (const role of ['producer', 'consumer'] as const) {
    const stranger = await openPool({ redisUrl: acl.urlOf(role), pool: 'no-pool' })
    onTestFinished(() => stranger.close())
    await expect(stranger.job('x')).rejects.toMatchObject({ kind: 'POOL_UNAVAILABLE' })
  }
  expect(rights(await acl.refused())).toEqual([])
})

test('a producer cancels what waits and what runs, and the worker takes what waited out of the queue', async ({
  acl,
}) => {
  const producer = await clientAs(acl, 'producer')
  const operator = await clientAs(acl, 'operator')
  await operator.create()
  const waiting = await producer.enqueue(LONG)
  const batch = await producer.enqueue({ ...LONG, priority: 'batch' })
  for (const { job_id: id } of [waiting, batch]) expect(await producer.cancel(id)).toBe('cancelled')
  expect(await producer.cancel(waiting.job_id)).toBe('already_over')
  await plainQueue(acl, 'producer', (queue) => queue.add('generate', LONG, { ...PLAIN, jobId: 'plain' }))
  expect(await producer.cancel('plain')).toBe('cancelled')
  const replica = await drainedReplica(acl, operator)
  // No slot is free: only a sweeper takes them out.
  await expect.poll(() => jobsIn(acl)).toEqual({ waiting: 0, bytes: 0 })
  await operator.undrain(replica.worker.replicaId)

  const running = await producer.enqueue(LONG)
  await expect.poll(() => replica.worker.busy).toBe(1)
  expect(await producer.cancel(running.job_id)).toBe('cancelled')
  await expect.poll(() => replica.worker.busy).toBe(0)
  await expect.poll(() => jobsIn(acl)).toEqual({ waiting: 0, bytes: 0 })
  expect(replica.complaints.filter((line) => !line.includes('replica is drained'))).toEqual([])
  // Once a process: it does not try again.
  expect(await acl.refused()).toEqual([expect.stringMatching(/^producer key tgi-pool:\{p\}:jobs:[\w-]+$/)])
})

test('a gateway takes cancelled jobs out of the queue at once, and those that others cancelled while it reads', async ({
  acl,
}) => {
  await (await clientAs(acl, 'operator')).create()
  const [producer, gateway] = [await clientAs(acl, 'producer'), await clientAs(acl, 'gateway')]
  const own = await producer.enqueue(JOB)
  const others: string[] = []
  for (let at = 0; at < 5; at += 1) others.push((await producer.enqueue(JOB)).job_id)
  await gateway.cancel(own.job_id)
  expect(await jobsIn(acl)).toMatchObject({ waiting: 5 })
  const reading = gateway.result(others[0] ?? '')
  reading.catch(() => undefined)
  for (const id of others) await producer.cancel(id)
  await expect(reading).rejects.toMatchObject({ kind: 'CANCELLED' })
  await expect.poll(() => jobsIn(acl)).toEqual({ waiting: 0, bytes: 0 })
  expect(await acl.refused()).toHaveLength(1)
})

test('two producers with one id are one job, whoever comes second, and its prompt stays the first', async ({
  acl,
}) => {
  await (await clientAs(acl, 'operator')).create()
  const producers = await Promise.all(Array.from({ length: 4 }, () => clientAs(acl, 'producer')))
  for (let round = 0; round < 5; round += 1) {
    const options = { jobId: `same-${round}` }
    const admissions = await Promise.all(producers.map((producer) => producer.enqueue(JOB, options)))
    expect(admissions.filter(({ existing }) => !existing)).toHaveLength(1)
  }
  expect(await jobsIn(acl)).toMatchObject({ waiting: 5 })
})

test('a producer adds whatever a plain BullMQ producer adds without delay, under any id', async ({ acl }) => {
  await (await clientAs(acl, 'operator')).create()
  const producer = await clientAs(acl, 'producer')
  const ids = ['a', 'met', 'metadata', 'report', 'waiting', 'Z', '0.', 'de-1', 'x'.repeat(128)]
  for (const jobId of ids) await producer.enqueue(JOB, { jobId })
  await plainQueue(acl, 'producer', async (queue) => {
    await queue.add('generate', JOB, { ...PLAIN, jobId: 'plain' })
    await queue.add('generate', JOB, { ...PLAIN, jobId: 'none', priority: 0 })
    await queue.add('generate', JOB, { ...PLAIN, jobId: 'lifo', priority: 0, lifo: true })
    await queue.addBulk(
      ['b1', 'b2'].map((jobId) => ({ name: 'generate', data: JOB, opts: { ...PLAIN, jobId } })),
    )
  })
  expect(await jobsIn(acl)).toMatchObject({ waiting: ids.length + 5 })
  const { complaints } = await workerAs(acl)
  await expect.poll(() => jobsIn(acl)).toEqual({ waiting: 0, bytes: 0 })
  expect(complaints).toEqual([])
  expect(await acl.refused()).toEqual([])
})

test('a consumer looks at jobs that wait, run, are over and never were', async ({ acl }) => {
  await (await clientAs(acl, 'operator')).create()
  const producer = await clientAs(acl, 'producer')
  const consumer = await clientAs(acl, 'consumer')
  await plainQueue(acl, 'producer', (queue) => queue.add('generate', LONG, { ...PLAIN, jobId: 'plain' }))
  expect(await consumer.has('plain')).toBe(true)
  expect(await consumer.job('plain')).toMatchObject({ state: 'queued', last_id: null })
  expect(await consumer.has('no-such-job')).toBe(false)
  const { worker } = await workerAs(acl, 50)
  await expect.poll(() => worker.busy).toBe(1)
  await expect.poll(() => consumer.job('plain')).toMatchObject({ state: 'started' })
  await producer.cancel('plain')
  expect(await consumer.job('plain')).toMatchObject({ state: 'cancelled' })
  expect(await acl.refused()).toEqual([])
})

test('a worker that may see one pool only sweeps that pool, and reports each other one once', async ({
  acl,
}) => {
  const operator = await clientAs(acl, 'operator')
  for (const pool of ['a', 'p', 'z']) {
    const client = await openPool({ redisUrl: acl.urlOf('operator'), pool })
    onTestFinished(() => client.close())
    await client.create()
  }
  const line = (await acl.admin.acl('LIST')).find((user) => user.startsWith('user worker ')) ?? ''
  const rules = line.replaceAll('{*}', '{p}').split(' ').slice(2)
  await acl.admin.call('ACL', ['SETUSER', 'worker-p', 'reset', ...rules, '>of-the-test'])
  onTestFinished(async () => void (await acl.admin.acl('DELUSER', 'worker-p')))
  const { complaints } = await workerAs(
    { ...acl, urlOf: () => acl.adminUrl.replace('admin:', 'worker-p:') },
    0,
  )
  const late = await operator.enqueue({ ...JOB, deadline_ms: 1 })
  await expect
    .poll(() => operator.job(late.job_id))
    .toMatchObject({ state: expect.stringMatching(/failed|ended/) })
  const { job_id: id } = await operator.enqueue(JOB)
  expect((await operator.result(id)).text).not.toBe('')
  for (const pool of ['a', 'z'])
    expect(complaints.filter((text) => text.includes(`pool ${pool}: `))).toHaveLength(1)
  expect(complaints.filter((text) => text.includes('NOPERM'))).toHaveLength(2)
})

test('a queue whose meta is gone is filled again by its worker, and producers go on', async ({ acl }) => {
  const operator = await clientAs(acl, 'operator')
  await operator.create()
  const producer = await clientAs(acl, 'producer')
  await acl.admin.del('tgi-pool:{p}:jobs:meta', 'tgi-pool:{p}:batch:meta')
  // The error names the command; nothing of the job is in the queue.
  await expect(producer.enqueue(JOB, { jobId: 'early' })).rejects.toThrow(/does not allow its user/)
  expect(await jobsIn(acl)).toMatchObject({ waiting: 0 })
  await workerAs(acl)
  await producer.enqueue(JOB, { jobId: 'early' })
  await expect.poll(() => operator.job('early')).toMatchObject({ state: 'ended' })
})

test('a worker creates no pool, and says who may', async ({ acl }) => {
  await expect(workerAs(acl)).rejects.toMatchObject({
    kind: 'POOL_UNAVAILABLE',
    message: expect.stringContaining('tgi-pool pool create --pool p'),
  })
  expect(await acl.admin.exists('tgi-pool:pools')).toBe(0)
})

test('an operator ends a script that holds Redis up', async ({ acl }) => {
  await acl.admin.config('SET', 'busy-reply-threshold', '50')
  onTestFinished(async () => void (await acl.admin.config('SET', 'busy-reply-threshold', '5000')))
  const operator = await acl.as('operator')
  // One that sends nothing again.
  const producer = new Redis(acl.urlOf('producer'), { maxRetriesPerRequest: 0, retryStrategy: () => null })
  onTestFinished(() => producer.disconnect())
  await producer.ping()
  const killed = expect(producer.eval('while true do end', 0)).rejects.toThrow(/killed/i)
  // Before Redis calls it busy, it answers after the script.
  await expect
    .poll(() => operator.script('KILL').catch((error: unknown) => String(error)), { interval: 100 })
    .toBe('OK')
  await killed
})

test('a worker ends jobs whose deadline has passed, hands jobs back, and takes over from one that died', async ({
  acl,
}) => {
  const producer = await clientAs(acl, 'producer')
  await (await clientAs(acl, 'operator')).create()
  const late = await producer.enqueue({ ...JOB, deadline_ms: 1 })
  const consumer = await clientAs(acl, 'consumer')
  const first = await workerAs(acl, 20)
  await expect.poll(() => consumer.job(late.job_id)).toMatchObject({ error: { code: 'DEADLINE_UNMET' } })

  const { job_id: id } = await producer.enqueue({ inputs: 'hello', parameters: { max_new_tokens: 40 } })
  await expect.poll(() => first.worker.busy).toBe(1)
  await first.worker.stop(0)
  const second = await workerAs(acl)
  // At once when it was handed back; after its lock ran out when it was just being taken.
  await expect.poll(async () => (await consumer.job(id)).state).toMatch(/ended|failed/)
  expect([...first.complaints, ...second.complaints].filter((line) => line.includes('NOPERM'))).toEqual([])
  expect(rights(await acl.refused())).toEqual([])
})

test('an operator drains a replica, its worker hears of it, and nobody else may', async ({ acl }) => {
  const operator = await clientAs(acl, 'operator')
  await operator.create()
  const { worker, complaints } = await workerAs(acl)
  await expect.poll(() => worker.state).toBe('ready')
  expect(await operator.drain(worker.replicaId)).toMatchObject({ outcome: 'draining' })
  await expect.poll(() => worker.state).toBe('draining')
  expect(await operator.undrain(worker.replicaId)).toMatchObject({ outcome: 'undrained' })
  await expect.poll(() => worker.state).toBe('ready')
  expect(complaints).toEqual([])
  expect(await acl.refused()).toEqual([])
})

test('an operator deletes a pool under its worker, and nobody else may', async ({ acl }) => {
  const operator = await clientAs(acl, 'operator')
  await operator.create()
  const { worker, complaints } = await workerAs(acl)
  await expect.poll(() => worker.state).toBe('ready')
  const producer = await clientAs(acl, 'producer')
  for (const role of ['producer', 'consumer', 'gateway', 'metrics', 'worker'] as const) {
    const client = role === 'producer' ? producer : await clientAs(acl, role)
    await expect(client.delete({ force: true })).rejects.toMatchObject({
      kind: 'REDIS_UNAVAILABLE',
      message: expect.stringContaining('does not allow its user'),
    })
  }
  expect(await operator.config()).toMatchObject({ max_attempts: 5 })
  await acl.refused()
  await operator.delete({ force: true })
  await worker.poolDeleted
  await worker.stop()
  expect(await acl.admin.keys('*')).toEqual(['tgi-pool:{p}:config'])
  expect(complaints.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
    'pool was deleted; stopping',
  ])
  await expect(producer.enqueue(JOB)).rejects.toMatchObject({ kind: 'POOL_UNAVAILABLE' })
  await expect(workerAs(acl)).rejects.toMatchObject({ kind: 'POOL_UNAVAILABLE', message: /was deleted/ })
  await operator.create()
  expect(await acl.refused()).toEqual([])
})

test('a plain BullMQ job is served, too', async ({ acl }) => {
  await (await clientAs(acl, 'operator')).create()
  const queue = new Queue('jobs', {
    connection: await acl.as('producer'),
    prefix: 'tgi-pool:{p}',
    skipMetasUpdate: true,
  })
  onTestFinished(() => queue.close())
  await queue.add('generate', JOB, {
    jobId: 'plain',
    priority: 10,
    removeOnComplete: true,
    removeOnFail: true,
  })
  const { complaints } = await workerAs(acl)
  const consumer = await clientAs(acl, 'consumer')
  expect((await consumer.result('plain')).text).not.toBe('')
  expect(complaints.filter((line) => line.includes('NOPERM'))).toEqual([])
  expect(rights(await acl.refused())).toEqual([])
})

test('a gateway does what a producer and a consumer do, keeps deadlines, and forgets', async ({ acl }) => {
  await (await clientAs(acl, 'operator')).create()
  const gateway = await clientAs(acl, 'gateway')
  const late = await gateway.enqueue({ ...JOB, deadline_ms: 1 })
  // No worker runs: whoever reads ends it.
  await expect(gateway.result(late.job_id)).rejects.toMatchObject({ kind: 'DEADLINE_UNMET' })
  const gone = await gateway.enqueue(LONG)
  await gateway.cancel(gone.job_id)
  await gateway.forget(gone.job_id)
  await expect(gateway.job(gone.job_id)).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
  await workerAs(acl)
  const { job_id: id } = await gateway.enqueue(JOB)
  expect((await gateway.result(id)).text).not.toBe('')
  await gateway.replicas()
  await gateway.waiting()
  expect((await gateway.jobs({ priority: 'interactive', olderThanMs: 0 })).jobs.length).toBeGreaterThan(0)
  expect((await gateway.jobs({ priority: 'batch' })).jobs).toEqual([])
  expect(await acl.refused()).toEqual([])
})

test('only operators and gateways list jobs: an id is all it takes to read one', async ({ acl }) => {
  const operator = await clientAs(acl, 'operator')
  await operator.create()
  await (await clientAs(acl, 'producer')).enqueue(JOB, { jobId: 'j' })
  expect((await operator.jobs()).jobs).toMatchObject([{ job_id: 'j' }])
  for (const role of ['producer', 'consumer', 'worker', 'metrics'] as const) {
    await expect((await clientAs(acl, role)).jobs()).rejects.toMatchObject({ kind: 'REDIS_UNAVAILABLE' })
  }
})

/** What was refused, without a consumer's attempts to keep deadlines, which others do, and to end its own blocking reads. */
function rights(refused: readonly string[]): string[] {
  const expected = ['consumer command zrangebyscore', 'consumer command client|unblock']
  return refused.filter((line) => !expected.includes(line))
}
