import { setTimeout as sleep } from 'node:timers/promises'
import type { Queue } from 'bullmq'
import fc from 'fast-check'
import { describe, expect } from 'vitest'
import type { FirstTokenTimes } from '../../src/attempt/format-token.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import type { JobEvent } from '../../src/contract/event.ts'
import type { JobInput } from '../../src/contract/job.ts'
import { START, entryId, SEAL_ID } from '../../src/contract/stream-id.ts'
import { formatEntry } from '../../src/stream/entry.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { collect, endOf, errorOf, only, readLog, textOf, tokensIn } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { test } from '../support/plain-queue.ts'

/** Greedy, so that the simulated model goes on the same whatever the seed. */
const TEN = { max_new_tokens: 10 }

const idsOf = (events: readonly JobEvent[]) => only(events, 'token').map(({ data }) => data.id)
const resumeOf = (events: readonly JobEvent[]) => only(events, 'started').map(({ data }) => data.resume)

/** Runs a job to its end. */
async function run(client: PoolClient, job: JobInput): Promise<JobEvent[]> {
  return collect(client, (await client.enqueue(job)).job_id)
}

/** A replica that fails once after so many tokens, for a prompt that says so. */
async function failing(lab: Lab, after: number, times = 1) {
  return lab.replica({ faults: [{ kind: 'generation-error', after, times, match: 'drop' }] })
}

/** A job whose worker died right after its last token, a while ago. */
async function orphan(
  lab: Lab,
  queue: Queue,
  body: JobInput,
  texts: readonly string[],
  times: Partial<FirstTokenTimes> = { first_token_ms: 5, ttft_ms: 3 },
): Promise<string> {
  const jobId = 'orphan'
  const now = Date.now() - 10_000
  const deadlineAt = now + 60_000
  const entries: LogEntry[] = [
    formatEntry(entryId(0, 1), 'queued', {
      digest: 'd',
      accepted_at: now,
      deadline_at: deadlineAt,
      queue_position: 0,
    }),
    formatEntry(entryId(now, 1), 'started', {
      attempt: 1,
      engine: 'tgi',
      engine_version: '3',
      pool_id: POOL,
      replica_id: 'gone',
      model_id: 'm',
      seed: 1,
      queue_time_ms: 1,
      determinism: 'best_effort',
      next_token: 0,
    }),
    ...texts.map((t, i) =>
      formatEntry(entryId(now, i + 2), 'token', {
        t,
        i,
        id: i,
        logprob: null,
        ...(i === 0 ? times : {}),
      }),
    ),
  ]
  const log = createEventLog(lab.redis, KEYS)
  await log.write({ jobId, expect: START, entries, deadlineAt, retentionMs: 60_000 })
  await queue.add('generate', body, { jobId, timestamp: now })
  return jobId
}

describe('an answer that was interrupted goes on', () => {
  test.for<[name: string, job: JobInput]>([
    ['a prompt', { inputs: 'Please drop this', parameters: TEN }],
    ['a chat', { messages: [{ role: 'user', content: 'Please drop this' }], parameters: TEN }],
    [
      'a prompt that stops by a word',
      { inputs: 'Please drop this', parameters: { ...TEN, stop: ['no such words'] } },
    ],
  ])('with the text so far: %s', async ([, job], { lab }) => {
    const client = await lab.client()
    const replica = await failing(lab, 4)
    await lab.worker(replica)
    const broken = await run(client, job)
    const whole = await run(client, job)
    expect(resumeOf(broken)).toEqual([undefined, { mode: 'continue', exact: false, same_tokens: true }])
    expect(endOf(broken)).toMatchObject({
      exact: false,
      attempts: 2,
      tokens_out: 10,
      finish_reason: 'length',
    })
    expect(endOf(whole)).toMatchObject({ exact: true, attempts: 1 })
    expect(idsOf(broken)).toEqual(idsOf(whole))
    expect(endOf(broken).text).toBe(endOf(whole).text)
    expect(endOf(broken).text).toBe(textOf(broken))
    expect(endOf(broken).tokens_in).toBe(endOf(whole).tokens_in)
    const [first] = only(broken, 'token')
    expect(first?.data.ttft_ms).toEqual(expect.any(Number))
    expect(endOf(broken)).toMatchObject({
      first_token_ms: first?.data.first_token_ms,
      ttft_ms: first?.data.ttft_ms,
    })
    expect(replica.seen.requests).toHaveLength(3)
  })

  test.for([
    // Tokens 2 and 3 are read as one, far behind the tokens that are proven: the model is given another past.
    { inputs: '[merge:2] drop]', sameTokens: false },
    { inputs: 'Please drop this', sameTokens: true },
  ])(
    'with other words where the text so far is read as other tokens, and says so: $inputs',
    async ({ inputs, sameTokens }, { lab }) => {
      const client = await lab.client()
      const replica = await lab.replica({
        readsTokens: true,
        faults: [{ kind: 'generation-error', after: 20, times: 1, match: 'drop' }],
      })
      await lab.worker(replica)
      const job: JobInput = { inputs, parameters: { max_new_tokens: 40 } }
      const broken = await run(client, job)
      const whole = await run(client, job)
      expect(resumeOf(broken)[1]).toEqual({ mode: 'continue', exact: false, same_tokens: sameTokens })
      expect(idsOf(broken).slice(0, 20)).toEqual(idsOf(whole).slice(0, 20))
      expect(endOf(broken).text === endOf(whole).text).toBe(sameTokens)
    },
  )

  test('more than once, and never begins anew', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await failing(lab, 3, 3))
    const job: JobInput = { inputs: 'Please drop this', parameters: { max_new_tokens: 20 } }
    const broken = await run(client, job)
    expect(only(broken, 'started').map(({ data }) => data.next_token)).toEqual([0, 3, 6, 9])
    expect(endOf(broken)).toMatchObject({ attempts: 4, tokens_out: 20 })
    expect(idsOf(broken)).toEqual(idsOf(await run(client, job)))
  })

  test('with another seed where it is sampled, the same one whoever goes on', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await failing(lab, 3))
    const parameters = { ...TEN, do_sample: true, seed: 7 }
    const events = await run(client, { inputs: 'drop', parameters })
    const [first, second] = only(events, 'started').map(({ data }) => data.seed)
    expect(first).toBe(7)
    expect(second).not.toBe(7)
    expect(endOf(events)).toMatchObject({ seed: 7, exact: false, tokens_out: 10 })
  })

  test.for<[name: string, job: JobInput]>([
    ['the text would be read as other tokens', { inputs: '[merge:2] drop]', parameters: TEN }],
    ['it breaks off inside a character', { inputs: '[emoji:2] drop]', parameters: TEN }],
    [
      'a grammar has begun',
      { inputs: 'drop', parameters: { ...TEN, grammar: { type: 'regex', value: '.*' } } },
    ],
    ['the job asks for it', { inputs: 'drop', parameters: TEN, on_interrupt: 'replay' }],
    [
      'the job asks for it, sampled',
      { inputs: 'drop', parameters: { ...TEN, do_sample: true, seed: 7 }, on_interrupt: 'replay' },
    ],
  ])('from its beginning, unpublished, where %s', async ([, job], { lab }) => {
    const client = await lab.client()
    await lab.worker(await failing(lab, 4))
    const broken = await run(client, job)
    const whole = await run(client, job)
    expect(resumeOf(broken)).toEqual([undefined, { mode: 'replay', exact: true }])
    expect(endOf(broken).ttft_ms).toBe(only(broken, 'token')[0]?.data.ttft_ms)
    expect(endOf(broken)).toMatchObject({ exact: true, attempts: 2 })
    expect(idsOf(broken)).toEqual(idsOf(whole))
    expect(endOf(broken).text).toBe(endOf(whole).text)
    expect(endOf(broken).tokens_in).toBe(endOf(whole).tokens_in)
  })

  test('from its seam, where it cannot go on a second time', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({
      faults: [
        { kind: 'generation-error', after: 2, times: 1 },
        // Of the second request, which begins with the third token: the pair lies across this break.
        { kind: 'generation-error', after: 4, times: 1 },
      ],
    })
    await lab.worker(replica)
    const broken = await run(client, { inputs: '[merge:4]', parameters: TEN })
    expect(resumeOf(broken)).toEqual([
      undefined,
      { mode: 'continue', exact: false, same_tokens: true },
      { mode: 'replay', exact: false },
    ])
    expect(endOf(broken)).toMatchObject({ exact: false, tokens_out: 10 })
    expect(idsOf(broken)).toEqual(idsOf(await run(client, { inputs: '[merge:4]', parameters: TEN })))
  })

  test('as far as its attempts last', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 2 })
    await lab.worker(await failing(lab, 2, 5))
    const events = await run(client, { inputs: 'Please drop this', parameters: TEN })
    expect(errorOf(events)).toMatchObject({
      code: 'WORKER_RESET',
      tokens_out: 4,
      attempt: 2,
      retriable: true,
    })
  })

  test('no further than its deadline', async ({ lab }) => {
    const client = await lab.client({ token_timeout_ms: 60_000 })
    await lab.worker(
      await lab.replica({
        faults: [
          { kind: 'generation-error', after: 2, times: 1 },
          { kind: 'stall', after: 3 },
        ],
      }),
    )
    const events = await run(client, { inputs: 'late', parameters: TEN, deadline_ms: 1500 })
    expect(errorOf(events)).toMatchObject({ code: 'DECODE_TIMEOUT', tokens_out: 5 })
  })
})

describe('a replay', () => {
  test('of any of 200 jobs, broken off at any token, is the answer of an undisturbed run', async ({
    lab,
  }) => {
    const client = await lab.client()
    const sampled = fc.sample(
      fc.record({
        words: fc.integer({ min: 1, max: 12 }),
        tokens: fc.integer({ min: 1, max: 80 }),
        at: fc.double({ min: 0, max: 1, noNaN: true }),
        seed: fc.integer({ min: 0, max: 1e6 }),
        sample: fc.boolean(),
        chat: fc.boolean(),
        stop: fc.constantFrom(undefined, ['. '], [' the'], ['\n']),
      }),
      { numRuns: 200, seed: Date.now() },
    )
    const jobs = sampled.map(({ words, tokens, seed, sample, chat, stop }, n): JobInput => {
      const text = `${'say more '.repeat(words)} job-${n}.`
      return {
        ...(chat ? { messages: [{ role: 'user', content: text }] } : { inputs: text }),
        parameters: {
          max_new_tokens: tokens,
          seed,
          do_sample: sample,
          ...(stop === undefined ? {} : { stop: [...stop] }),
        },
        on_interrupt: 'replay',
      }
    })
    const calm = await lab.worker(await lab.replica())
    const wholes = await Promise.all(jobs.map((job) => run(client, job)))
    await calm.stop()
    // Each pool has one replica and one job at a time: faults in a row would open the breaker.
    const POOLS = 4
    const brokens: JobEvent[][] = []
    const runPool = async (pool: number) => {
      const rough = await lab.replica({
        faults: wholes.map((whole, n) => {
          const after = 1 + Math.floor((sampled[n]?.at ?? 0) * (idsOf(whole).length - 1))
          return { kind: 'crash', after, times: 1, match: `job-${n}.` }
        }),
      })
      const own = await lab.client({}, `rough-${pool}`)
      await lab.worker(rough, { pool: `rough-${pool}` })
      for (let n = pool; n < jobs.length; n += POOLS) brokens[n] = await run(own, jobs[n] ?? { inputs: '' })
    }
    await Promise.all(Array.from({ length: POOLS }, (_, pool) => runPool(pool)))
    let replayed = 0
    for (const [n, broken] of brokens.entries()) {
      const whole = wholes[n] ?? []
      expect(idsOf(broken)).toEqual(idsOf(whole))
      expect(endOf(broken)).toMatchObject({ exact: true, text: endOf(whole).text })
      if (resumeOf(broken).some((resume) => resume?.mode === 'replay')) replayed += 1
    }
    // The others were broken off after their last token.
    expect(replayed).toBeGreaterThan(100)
  })

  test('that does not repeat what is published ends the job, and publishes nothing of its own', async ({
    lab,
  }) => {
    const client = await lab.client()
    const replica = await lab.replica({
      batchDivergence: true,
      tokensPerSecond: 200,
      faults: [{ kind: 'generation-error', after: 60, times: 1, match: 'drop' }],
    })
    await lab.worker(replica)
    const beside = client.enqueue({ inputs: 'beside it', parameters: { max_new_tokens: 70 } })
    const { job_id: jobId } = await client.enqueue({
      inputs: 'drop',
      parameters: { max_new_tokens: 100 },
      on_interrupt: 'replay',
    })
    const events = await collect(client, jobId)
    const error = errorOf(events)
    expect(error).toMatchObject({ code: 'REPLAY_DIVERGED', retriable: true, tokens_out: 60, attempt: 2 })
    expect(only(events, 'token')).toHaveLength(60)
    endOf(await collect(client, (await beside).job_id))
  })

  test('that diverges beside others runs once more, alone, and what waits meanwhile runs after it', async ({
    lab,
  }) => {
    const client = await lab.client()
    const replica = await lab.replica({
      batchDivergence: true,
      tokensPerSecond: 200,
      faults: [{ kind: 'generation-error', after: 60, times: 1, match: 'drop' }],
    })
    const worker = await lab.worker(replica, { slots: 4 })
    const { job_id: jobId } = await client.enqueue({
      inputs: '[tag:drop] drop',
      parameters: { max_new_tokens: 80 },
      on_interrupt: 'replay',
    })
    await tokensIn(lab.redis, KEYS, jobId, 50)
    const over = new AbortController()
    const reading = collect(client, jobId).finally(() => over.abort())
    const others: Promise<JobEvent[]>[] = []
    for (; !over.signal.aborted && others.length < 200; await sleep(40)) {
      // It is alone until it breaks off.
      if (only(await readLog(lab.redis, KEYS, jobId), 'token').length < 60) continue
      others.push(run(client, { inputs: `beside ${others.length}`, parameters: { max_new_tokens: 40 } }))
    }
    others.push(run(client, { inputs: 'after it', parameters: TEN }))
    for (const events of await Promise.all(others)) endOf(events)
    const events = await reading
    expect(resumeOf(events)).toEqual([undefined, { mode: 'replay', exact: true }])
    expect(endOf(events)).toMatchObject({ exact: true, attempts: 2, tokens_out: 80 })
    const { requests } = replica.seen
    const mine = requests.filter(({ tag }) => tag === 'drop')
    expect(mine).toHaveLength(3)
    const alone = mine.at(-1)
    if (alone?.closedAtMs === undefined) throw new Error('expected a replay that is over')
    const { receivedAtMs: from, closedAtMs: to } = alone
    const beside = requests.filter(
      (other) => other !== alone && other.receivedAtMs < to && (other.closedAtMs ?? Infinity) > from,
    )
    expect(beside).toEqual([])
    expect(requests.filter((other) => other.receivedAtMs > to).length).toBeGreaterThan(0)
    await expect.poll(() => worker.busy).toBe(0)
  })

  test('waits for a replica of its own build', async ({ lab }) => {
    const client = await lab.client()
    const old = await lab.replica({
      version: '3.3.5',
      tokensPerSecond: 100,
      faults: [{ kind: 'crash', after: 3, times: 1, match: 'drop' }],
    })
    const first = await lab.worker(old, { slots: 1 })
    await expect.poll(() => first.state).toBe('ready')
    const job: JobInput = { inputs: 'drop', parameters: TEN, on_interrupt: 'replay' }
    const jobs = [
      await client.enqueue(job),
      await client.enqueue({ inputs: 'more', parameters: { max_new_tokens: 100 } }),
    ]
    await lab.worker(await lab.replica({ version: '3.3.6' }), { slots: 1 })
    const [broken = []] = await Promise.all(jobs.map(({ job_id: jobId }) => collect(client, jobId)))
    expect(endOf(broken)).toMatchObject({ exact: true, tokens_out: 10 })
    const builds = only(broken, 'started').map(({ data }) => data.engine_version)
    expect(new Set(builds).size).toBe(1)
  })

  test('is given up where no replica has its build any more', async ({ lab, queue }) => {
    const client = await lab.client()
    const body: JobInput = { inputs: 'x', parameters: TEN, on_interrupt: 'replay' }
    const jobId = await orphan(lab, queue, body, ['a', 'b'])
    const replica = await lab.replica()
    await lab.worker(replica)
    expect(errorOf(await collect(client, jobId))).toMatchObject({
      code: 'WORKER_RESET',
      message: expect.stringContaining('m on 3'),
      tokens_out: 2,
    })
    expect(replica.seen.requests).toEqual([])
  })
})

describe('an answer of which every token is there', () => {
  test.for<[name: string, texts: string[], more: JobInput['parameters'], reason: string]>([
    ['as many as may be', ['a', 'b', 'c'], {}, 'length'],
    ['a stop sequence', ['a', 'b.'], { stop: ['b.'] }, 'stop_sequence'],
  ])(
    'gets its end from the log, and no request is sent: %s',
    async ([, texts, more, reason], { lab, queue }) => {
      const client = await lab.client()
      const replica = await lab.replica()
      const body: JobInput = { inputs: 'x', parameters: { max_new_tokens: 3, ...more } }
      const jobId = await orphan(lab, queue, body, texts)
      await lab.worker(replica)
      const events = await collect(client, jobId)
      expect(endOf(events)).toEqual({
        finish_reason: reason,
        tokens_out: texts.length,
        queue_time_ms: expect.any(Number),
        first_token_ms: 5,
        ttft_ms: 3,
        seed: expect.any(Number),
        text: texts.join(''),
        attempts: 1,
        exact: true,
      })
      expect(events.at(-1)?.id).toBe(SEAL_ID)
      expect(replica.seen.requests).toEqual([])
    },
  )

  test('has no time to first token where an older worker published its first token', async ({
    lab,
    queue,
  }) => {
    const client = await lab.client()
    const body: JobInput = { inputs: 'x', parameters: { max_new_tokens: 2 } }
    const jobId = await orphan(lab, queue, body, ['a', 'b'], { first_token_ms: 5 })
    await lab.worker(await lab.replica())
    const end = endOf(await collect(client, jobId))
    expect(end).toMatchObject({ first_token_ms: 5, tokens_out: 2 })
    expect(end).not.toHaveProperty('ttft_ms')
  })
})
