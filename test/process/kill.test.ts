import { describe, expect } from 'vitest'
import { collect, endOf, errorOf, only, textOf, tokensIn } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'

/** A short lock, so that a test waits less for that of a worker that is gone. */
const DOOMED = { lockMs: 2000 }
/** Looks often for jobs of the dead; its own lock is not short, so that nothing takes a job from it. */
const SURVIVOR = { stalledIntervalMs: 300 }

describe('a worker process that is killed', () => {
  test('before the first token: another runs the job again and it ends well', async ({ lab }) => {
    const client = await lab.client()
    const slow = await lab.replica({ faults: [{ kind: 'slow-prefill', ms: 60_000 }] })
    const good = await lab.replica()
    const doomed = await lab.process(slow, DOOMED)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Survive', parameters: { max_new_tokens: 5 } })
    await expect.poll(() => slow.seen.open).toBe(1)
    await lab.worker(good, SURVIVOR)
    doomed.kill('SIGKILL')
    const events = await collect(client, jobId)
    expect(endOf(events)).toMatchObject({ attempts: 2, tokens_out: 5 })
    const [first, second] = only(events, 'started')
    expect(second?.data.replica_id).not.toBe(first?.data.replica_id)
    await expect.poll(() => slow.seen.open).toBe(0)
    expect((await doomed.exited).signal).toBe('SIGKILL')
  })

  test('after tokens: another goes on with the answer, and it is one', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 50 })
    const other = await lab.replica()
    const doomed = await lab.process(replica, DOOMED)
    const body = { inputs: 'Half', parameters: { max_new_tokens: 200 } }
    const { job_id: jobId } = await client.enqueue(body)
    const reading = collect(client, jobId)
    await tokensIn(lab.redis, KEYS, jobId)
    clock.advance(80)
    await tokensIn(lab.redis, KEYS, jobId, 5)
    await lab.worker(other, SURVIVOR)
    doomed.kill('SIGKILL')
    const events = await reading
    const end = endOf(events)
    expect(end).toMatchObject({ attempts: 2, tokens_out: 200, exact: false })
    const [, second] = only(events, 'started')
    expect(second?.data).toMatchObject({ resume: { mode: 'continue', exact: false } })
    expect(end.text).toBe(textOf(events))
    // The simulated model is a function of the text so far: the same answer as if nobody had died.
    expect(end.text).toBe((await client.result((await client.enqueue(body)).job_id)).text)
  })

  test('after tokens of a job that may not go on: WORKER_RESET with what is there', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 50 })
    const other = await lab.replica()
    const doomed = await lab.process(replica, DOOMED)
    const { job_id: jobId } = await client.enqueue({
      inputs: 'Half',
      parameters: { max_new_tokens: 1000 },
      on_interrupt: 'fail',
    })
    const reading = collect(client, jobId)
    await tokensIn(lab.redis, KEYS, jobId)
    clock.advance(80)
    await tokensIn(lab.redis, KEYS, jobId, 5)
    await lab.worker(other, SURVIVOR)
    doomed.kill('SIGKILL')
    const events = await reading
    expect(errorOf(events)).toMatchObject({
      code: 'WORKER_RESET',
      retriable: true,
      tokens_out: only(events, 'token').length,
    })
    expect(other.seen.requests).toEqual([])
  })

  test('leaves its replica to the one that stands by, and is told as lost till then', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    const doomed = await lab.process(replica, { leaseMs: 1000 })
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'ready' }])
    doomed.kill('SIGKILL')
    await doomed.exited
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'lost', busy: 0 }])
    await lab.process(replica, { leaseMs: 1000 })
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'ready' }])
    const { job_id: jobId } = await client.enqueue({ inputs: 'Go on', parameters: { max_new_tokens: 2 } })
    endOf(await collect(client, jobId))
  })

  test('while another stands by is followed by that one when the lease has run out', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    const doomed = await lab.process(replica, { leaseMs: 1000 })
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'ready' }])
    const standby = await lab.worker(replica, { leaseMs: 1000 })
    expect(standby.state).toBe('standby')
    doomed.kill('SIGKILL')
    await expect.poll(() => standby.state).toBe('ready')
  })

  test('with many jobs under way and more waiting loses none of them', async ({ lab }) => {
    const client = await lab.client()
    const doomedReplica = await lab.replica({ tokensPerSecond: 100, prefillMs: 20 })
    const replica = await lab.replica({ tokensPerSecond: 1000 })
    const doomed = await lab.process(doomedReplica, DOOMED)
    const jobs = await Promise.all(
      Array.from({ length: 30 }, (_, n) =>
        client.enqueue({ inputs: `Job ${n}`, parameters: { max_new_tokens: 15 } }),
      ),
    )
    await expect.poll(() => doomedReplica.seen.requests.length).toBeGreaterThan(8)
    doomed.kill('SIGKILL')
    await lab.worker(replica, SURVIVOR)
    const logs = await Promise.all(jobs.map(({ job_id: jobId }) => collect(client, jobId)))
    for (const events of logs) expect(endOf(events).tokens_out).toBe(15)
    await expect.poll(() => client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
    expect(await lab.redis.zcard(KEYS.deadlines)).toBe(0)
  })
})

describe('a worker process that stands still for longer than its lock', () => {
  test.for<[name: string, stop: NodeJS.Signals, wake: NodeJS.Signals | undefined]>([
    ['frozen', 'SIGSTOP', 'SIGCONT'],
    // It wakes by itself.
    ['its event loop blocked', 'SIGUSR2', undefined],
  ])(
    'finds its job run by another when it wakes, writes nothing more and closes its request: %s',
    async ([, stop, wake], { lab }) => {
      const client = await lab.client()
      const clock = createManualClock()
      const slow = await lab.replica({ clock, prefillMs: 1000, tokensPerSecond: 50 })
      const good = await lab.replica()
      // With its one slot taken it waits for no job: one that waits when it stops swallows the wake-up of the next job.
      const zombie = await lab.process(slow, { lockMs: 1000, leaseMs: 1000, slots: 1 })
      const { job_id: jobId } = await client.enqueue({
        inputs: 'Zombie',
        parameters: { max_new_tokens: 200 },
      })
      await expect.poll(() => slow.seen.open).toBe(1)
      // Before the zombie stands still, so that only its lock has to run out; nothing takes this one's own from it.
      const other = await lab.worker(good, SURVIVOR)
      await expect.poll(() => other.state).toBe('ready')
      zombie.kill(stop)
      await tokensIn(lab.redis, KEYS, jobId, 3)
      expect(slow.seen.open).toBe(1)
      // They wait in the socket when it wakes.
      clock.advance(1200)
      expect(slow.state().requests[0]?.tokens).toBe(11)
      if (wake !== undefined) zombie.kill(wake)
      await expect.poll(() => slow.seen.open).toBe(0)
      const events = await collect(client, jobId)
      expect(endOf(events)).toMatchObject({ attempts: 2, tokens_out: 200 })
      expect(slow.seen.requests.length).toBe(1)
      expect(zombie.output()).not.toContain('"level":"error"')
    },
  )
})
