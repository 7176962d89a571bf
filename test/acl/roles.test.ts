import { Queue } from 'bullmq'
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

/** A worker that has nothing but its role's rights, and what it had to complain of. */
async function workerAs(
  acl: AclRedis,
  tokensPerSecond = 0,
): Promise<{ worker: PoolWorker; complaints: string[] }> {
  const complaints: string[] = []
  const logger = pino({ level: 'warn' }, { write: (line: string) => void complaints.push(line) })
  const replica = await startSimulator({ tokensPerSecond, prefillMs: 0 })
  onTestFinished(() => replica.stop())
  const worker = await startWorker({
    redisUrl: acl.urlOf('worker'),
    pool: POOL,
    replicaUrl: replica.url,
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

test('a producer cancels what waits and what runs', async ({ acl }) => {
  const producer = await clientAs(acl, 'producer')
  await (await clientAs(acl, 'operator')).create()
  const waiting = await producer.enqueue(LONG)
  expect(await producer.cancel(waiting.job_id)).toBe('cancelled')
  const connection = await acl.as('operator')
  const queue = new Queue('jobs', { connection, prefix: 'tgi-pool:{p}', skipMetasUpdate: true })
  onTestFinished(() => queue.close())
  await queue.add('generate', LONG, { jobId: 'plain', removeOnComplete: true, removeOnFail: true })
  expect(await producer.cancel('plain')).toBe('cancelled')
  const { worker, complaints } = await workerAs(acl, 50)
  const running = await producer.enqueue(LONG)
  await expect.poll(() => worker.busy).toBe(1)
  expect(await producer.cancel(running.job_id)).toBe('cancelled')
  await expect.poll(() => worker.busy).toBe(0)
  expect(complaints).toEqual([])
  expect(await acl.refused()).toEqual([])
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
  expect(await acl.refused()).toEqual([])
})

/** What was refused, without a consumer's attempts to keep deadlines: others do. */
function rights(refused: readonly string[]): string[] {
  return refused.filter((line) => line !== 'consumer command zrangebyscore')
}
