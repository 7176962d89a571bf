import { describe, expect } from 'vitest'
import type { JobEvent } from '../../src/contract/event.ts'
import type { JobInput } from '../../src/contract/job.ts'
import { collect, endOf, errorOf, only, tokensIn } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import type { Lab } from '../support/lab.ts'

/** Connections that Redis holds. */
async function connections(lab: Lab): Promise<number> {
  return String(await lab.redis.client('LIST'))
    .trim()
    .split('\n').length
}

const idsOf = (events: readonly JobEvent[]) => events.map(({ id }) => id).join()

describe('a prompt as large as the pool allows', () => {
  const inputs = 'again and again '.repeat(93_000)

  test('is answered, and goes on after an interruption', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({
      maxTotalTokens: 1e8,
      faults: [{ kind: 'generation-error', after: 5, times: 1 }],
    })
    await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs, parameters: { max_new_tokens: 10 } })
    const events = await collect(client, jobId)
    expect(endOf(events)).toMatchObject({ attempts: 2, tokens_out: 10 })
    expect(endOf(events).tokens_in).toBeGreaterThan(100_000)
  })

  test('is refused above that by name, at the door', async ({ lab }) => {
    const client = await lab.client()
    await expect(client.enqueue({ inputs: `${inputs}${inputs}` })).rejects.toMatchObject({
      kind: 'INVALID_PARAMS',
      message: expect.stringMatching(/inputs \(bytes\): expected at most 1500000 .*got 2976000/),
    })
    expect(await lab.redis.keys('*jobs:*')).toEqual([`${KEYS.queuePrefix}:jobs:meta`])
  })
})

describe('data that breaks parsers', () => {
  test.for([
    ['line ends of every kind', 'a\r\nb\rc\u2028d\u2029e\u0085f\u000bg\n\n\ndata: {"x":1}\n\nevent: end\n\n'],
    ['control characters', String.fromCodePoint(...Array.from({ length: 32 }, (_, code) => code), 127)],
    ['names of prototypes', '__proto__ constructor toString {"__proto__":{"polluted":true}}'],
    ['Lua and Redis', "return redis.call('FLUSHALL') -- $6\r\nFLUSHALL\r\n *1\r\n"],
    ['very deep JSON', '['.repeat(100_000)],
    ['marks of direction and joins', '\u202e\u200d\ufeff👩‍👩‍👧‍👧'],
  ] as const)('passes through whole: %s', async ([, inputs], { lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ maxTotalTokens: 1e6 }))
    const { job_id: jobId } = await client.enqueue({
      inputs,
      parameters: { max_new_tokens: 8, stop: [inputs.slice(0, 20)] },
    })
    const events = await collect(client, jobId)
    expect(endOf(events).tokens_out).toBeGreaterThan(0)
    expect(Object.hasOwn({}, 'polluted')).toBe(false)
  })
})

test.for([{ inputs: 'a \ud800 b' }, { messages: [{ role: 'user', content: 'a \udfff' }] }] as const)(
  'half a character is refused at the door, where it is: %j',
  async (job, { lab }) => {
    const client = await lab.client()
    await expect(client.enqueue(structuredClone(job) as JobInput)).rejects.toMatchObject({
      kind: 'INVALID_PARAMS',
      message: expect.stringMatching(/(inputs|content).*half of a surrogate pair/),
    })
  },
)

describe('a thousand consumers of one job', () => {
  test('see the same entries over a few connections', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    await lab.worker(await lab.replica({ clock, tokensPerSecond: 100 }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'all', parameters: { max_new_tokens: 100 } })
    await tokensIn(lab.redis, KEYS, jobId)
    const before = await connections(lab)
    const readers = Array.from({ length: 1000 }, () => collect(client, jobId))
    await expect.poll(() => connections(lab)).toBeLessThanOrEqual(before + 2)
    clock.run()
    const [first = [], ...others] = await Promise.all(readers)
    expect(endOf(first).tokens_out).toBe(100)
    expect(new Set(others.map(idsOf))).toEqual(new Set([idsOf(first)]))
    expect(await connections(lab)).toBeLessThanOrEqual(before + 2)
  })
})

describe('a stream that expires', () => {
  test('under a reader that waits for more is told as gone, not as silence', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ faults: [{ kind: 'stall', after: 2 }] })
    const worker = await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: 'x' })
    const reading = collect(client, jobId)
    reading.catch(() => undefined)
    await tokensIn(lab.redis, KEYS, jobId, 2)
    await worker.stop(0)
    await lab.redis.del(...(await lab.redis.keys(`${KEYS.queuePrefix}:jobs*`)))
    await lab.redis.pexpire(KEYS.events(jobId), 50)
    // A reader asks whether its stream is there when nothing has come for five seconds.
    await expect(reading).rejects.toMatchObject({ kind: 'GONE' })
  })

  test('under a reader that takes its time is told as gone with its next event', async ({ lab }) => {
    const client = await lab.client({ retention_ms: 2000 })
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 1500 } })
    const events = client.events(jobId)
    const seen: string[] = []
    for (let n = 0; n < 5; n += 1) {
      const { value } = await events.next()
      if (value !== undefined) seen.push(value.id)
    }
    await expect.poll(() => lab.redis.exists(KEYS.events(jobId))).toBe(0)
    const rest = async () => {
      for await (const event of events) seen.push(event.id)
    }
    await expect(rest()).rejects.toMatchObject({ kind: 'GONE' })
    // What it was told is the beginning, in order, without a hole.
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen[0]).toBe('0-1')
  })
})

describe('a queue that is full', () => {
  test('refuses at the door whatever comes from everywhere at once; nothing that was accepted is lost', async ({
    lab,
  }) => {
    const client = await lab.client({ max_queued: 300 })
    const outcomes = await Promise.allSettled(
      Array.from({ length: 1000 }, (_, n) =>
        client.enqueue({ inputs: `job ${n}`, parameters: { max_new_tokens: 2 } }),
      ),
    )
    const accepted = outcomes.filter((outcome) => outcome.status === 'fulfilled')
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
    expect(accepted).toHaveLength(300)
    for (const { reason } of refused)
      expect(reason).toMatchObject({ kind: 'ADMISSION_REJECT', retriable: true })
    expect(await lab.redis.info('stats')).toContain('evicted_keys:0')
    await lab.worker(await lab.replica(), { slots: 32 })
    const logs = await Promise.all(accepted.map(({ value }) => collect(client, value.job_id)))
    for (const events of logs) expect(endOf(events).tokens_out).toBe(2)
    await client.enqueue({ inputs: 'one more', parameters: { max_new_tokens: 2 } })
  })
})

test('a job that breaks every attempt costs its pool no other job', async ({ lab }) => {
  const client = await lab.client({ max_attempts: 3 })
  await lab.worker(await lab.replica({ faults: [{ kind: 'crash', after: 1, match: 'poison' }] }))
  await lab.worker(await lab.replica({ faults: [{ kind: 'crash', after: 1, match: 'poison' }] }))
  const parameters = { max_new_tokens: 10 }
  const poison = await client.enqueue({ inputs: 'poison', parameters })
  const others = await Promise.all(
    Array.from({ length: 20 }, (_, n) => client.enqueue({ inputs: `job ${n}`, parameters })),
  )
  const error = errorOf(await collect(client, poison.job_id))
  expect(['WORKER_RESET', 'REPLICA_EXHAUSTED']).toContain(error.code)
  for (const { job_id: jobId } of others) {
    const events = await collect(client, jobId)
    endOf(events)
    expect(only(events, 'started')).toHaveLength(1)
  }
})
