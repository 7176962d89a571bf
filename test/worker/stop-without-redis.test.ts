import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { PoolWorker } from '../../src/worker/worker.ts'
import { tokensIn } from '../support/job-log.ts'
import { KEYS } from '../support/lab.ts'
import { labOn, startOwnRedis } from '../support/own-redis.ts'
import { startProxy } from '../support/proxy.ts'
import { freeze, killed } from '../support/signals.ts'

describe('a worker that is told to stop while Redis is away', () => {
  /** How long it may take (ms): ten times the two to four seconds that the steps of a stop take as a rule. */
  const STOP_MS = 40_000

  /** Stops a worker and tells whether that came to an end in time, whatever becomes of it later. */
  async function stopsInTime(worker: PoolWorker): Promise<boolean> {
    let stopped = false
    void worker.stop(0).then(() => {
      stopped = true
    })
    const since = performance.now()
    await expect.poll(() => stopped || performance.now() - since > STOP_MS).toBe(true)
    return stopped
  }

  test.for([
    { doing: 'idle', how: 'dead' },
    { doing: 'busy', how: 'dead' },
    { doing: 'idle', how: 'frozen' },
    { doing: 'busy', how: 'frozen' },
  ])('stops, $doing, with Redis $how', async ({ doing, how }) => {
    const { server, again } = await startOwnRedis()
    const lab = await labOn(server.url)
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 60_000 })
    const worker = await lab.worker(replica, { lockMs: 1000, leaseMs: 1000 })
    await expect.poll(() => worker.state).toBe('ready')
    if (doing === 'busy') {
      await client.enqueue({ inputs: 'Stuck' })
      await expect.poll(() => replica.seen.open).toBe(1)
    }
    const thaw = how === 'frozen' ? freeze(server.pid) : undefined
    if (how === 'dead') await killed(server.pid)
    const stopped = await stopsInTime(worker)
    expect(replica.seen.open).toBe(0)
    if (thaw === undefined) await again()
    else thaw()
    expect(stopped).toBe(true)
  })

  // As behind a load balancer whose server is gone. BullMQ tries again and again to take the job that it was asked for.
  test('leaves no process behind when its lines to Redis are up and say nothing', async () => {
    const { server } = await startOwnRedis()
    const proxy = await startProxy(server.port)
    onTestFinished(() => proxy.close())
    const lab = await labOn(server.url)
    await lab.client()
    const replica = await lab.replica()
    const worker = await lab.process(replica, {
      redisUrl: proxy.url,
      lockMs: 1000,
      leaseMs: 1000,
      graceMs: 0,
      stalledIntervalMs: 300,
    })
    proxy.cut()
    proxy.stall()
    // By then it asks for a job, or tries again to.
    await sleep(3000)
    worker.kill('SIGTERM')
    const late = sleep(STOP_MS, 'late', { ref: false })
    expect(await Promise.race([worker.exited, late])).toEqual({ code: 0, signal: null })
  })

  test('leaves no process behind that waits to end a job for ever, when Redis takes no write', async () => {
    const { server } = await startOwnRedis()
    const lab = await labOn(server.url)
    const client = await lab.client()
    const replica = await lab.replica({ tokensPerSecond: 50 })
    // The lock does not run out before the worker has stopped.
    const worker = await lab.process(replica, { lockMs: 60_000, graceMs: 0 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Stuck', on_interrupt: 'fail' })
    await tokensIn(lab.redis, KEYS, jobId, 3)
    await lab.redis.config('SET', 'min-replicas-to-write', '1')
    worker.kill('SIGTERM')
    const late = sleep(STOP_MS, 'late', { ref: false })
    const outcome = await Promise.race([worker.exited, late])
    await lab.redis.config('SET', 'min-replicas-to-write', '0')
    expect(outcome).toEqual({ code: 0, signal: null })
  })
})
