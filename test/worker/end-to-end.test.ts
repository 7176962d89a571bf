import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { seedOf } from '../../src/contract/ids.ts'
import { QUEUED_ID, SEAL_ID, epochMs } from '../../src/contract/stream-id.ts'
import { createTgiClient } from '../../src/tgi/client.ts'
import { collect, endOf, only, readLog, textOf, tokensIn } from '../support/job-log.ts'
import { KEYS, POOL, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'

describe('one job', () => {
  test('has its events in order, with the ids and the fields of the contract', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, prefillMs: 20, tokensPerSecond: 100 })
    const worker = await lab.worker(replica)
    const body = { inputs: 'Tell me a story', parameters: { max_new_tokens: 8 }, correlation_id: 'order-66' }
    const before = Date.now()
    const { job_id: jobId, queue_position: position, existing } = await client.enqueue(body)
    expect({ position, existing }).toEqual({ position: 0, existing: false })
    await expect.poll(() => readLog(lab.redis, KEYS, jobId)).toHaveLength(2)
    await sleep(30)
    clock.advance(20)
    await tokensIn(lab.redis, KEYS, jobId)
    await sleep(60)
    clock.advance(70)

    const events = await collect(client, jobId)
    expect(events).toEqual(await readLog(lab.redis, KEYS, jobId))
    const [queued, started, ...rest] = events
    expect(queued).toMatchObject({
      id: QUEUED_ID,
      event: 'queued',
      data: { digest: expect.stringMatching(/^[0-9a-f]{64}$/), queue_position: 0 },
    })
    expect(only(events, 'queued')[0]?.data.accepted_at).toBeGreaterThan(before - 2)
    const epoch = started?.id.split('-')[0]
    expect(epochMs(Number(epoch))).toBeGreaterThan(before - 2)
    // Microseconds: unique an attempt.
    expect(epoch).toHaveLength(16)
    expect(started).toEqual({
      id: `${epoch}-1`,
      event: 'started',
      data: {
        attempt: 1,
        engine: 'tgi',
        engine_version: '3.3.6-dev0+sim',
        pool_id: POOL,
        replica_id: worker.replicaId,
        model_id: 'simulated/tiny-llm',
        seed: seedOf(jobId),
        queue_time_ms: expect.any(Number),
        determinism: 'best_effort',
        next_token: 0,
        correlation_id: 'order-66',
      },
    })
    expect(rest.map(({ id }) => id)).toEqual([
      ...Array.from({ length: 8 }, (_, index) => `${epoch}-${index + 2}`),
      SEAL_ID,
    ])
    expect(only(events, 'token').map(({ data }) => Object.keys(data))).toEqual(
      Array.from({ length: 8 }, (_, i) => [
        't',
        'i',
        'id',
        'logprob',
        ...(i === 0 ? ['first_token_ms', 'ttft_ms'] : []),
      ]),
    )
    const end = endOf(events)
    expect(end).toMatchObject({
      finish_reason: 'length',
      tokens_out: 8,
      attempts: 1,
      exact: true,
      seed: seedOf(jobId),
    })
    expect(end.text).toBe(textOf(events))
    // At least as long as was waited above; some milliseconds are Redis's clock and rounding.
    expect(end.first_token_ms).toBeGreaterThanOrEqual(end.queue_time_ms + 20)
    // The request may have gone out before `started`, never before the job was accepted.
    expect(end.ttft_ms).toBeGreaterThanOrEqual(20)
    expect(end.ttft_ms).toBeLessThanOrEqual(end.first_token_ms + 2)
    expect(only(events, 'token')[0]?.data).toMatchObject({
      first_token_ms: end.first_token_ms,
      ttft_ms: end.ttft_ms,
    })
    expect(end.decode_time_ms).toBeGreaterThanOrEqual(50)
    expect(replica.seen.requests).toMatchObject([{ outcome: 'finished', tokens: 8 }])
  })

  test('tells the end-of-sequence token as special and leaves it out of the text', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({ inputs: 'Say hello [eos:3]' })
    const events = await collect(client, jobId)
    const end = endOf(events)
    expect(end).toMatchObject({ finish_reason: 'eos_token', tokens_out: 4, text: textOf(events) })
    expect(only(events, 'token').map(({ data }) => data.special)).toEqual([
      undefined,
      undefined,
      undefined,
      true,
    ])
    expect(end.text).not.toContain('</s>')
  })

  test('counts the tokens of its prompt as the replica does', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    await lab.worker(replica)
    const inputs = 'How many tokens are there in this sentence?'
    const tgi = createTgiClient({ url: replica.url })
    const expected = (await tgi.tokenize(inputs)).length
    await tgi.close()
    const { job_id: jobId } = await client.enqueue({ inputs, parameters: { max_new_tokens: 2 } })
    expect((await client.result(jobId)).end.tokens_in).toBe(expected)
  })

  test('publishes every token when characters come in pieces, and its text has them whole', async ({
    lab,
  }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({
      inputs: 'An emoji [emoji:2]',
      parameters: { max_new_tokens: 10 },
    })
    const events = await collect(client, jobId)
    expect(endOf(events).text).toBe(textOf(events))
    expect(only(events, 'token').filter(({ data }) => data.t === '')).not.toEqual([])
    expect(textOf(events)).not.toContain('\uFFFD')
  })

  test('has the likeliest other tokens when it asks for them', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({
      inputs: 'Which?',
      parameters: { max_new_tokens: 3, top_n_tokens: 2 },
    })
    for (const { data } of only(await collect(client, jobId), 'token')) expect(data.top).toHaveLength(2)
  })
})

describe('readers', () => {
  test('see the same from the start, and after every id what follows it', async ({ lab }) => {
    const client = await lab.client()
    const other = await lab.client()
    await lab.worker(await lab.replica({ tokensPerSecond: 300 }))
    const { job_id: jobId } = await client.enqueue({
      inputs: 'Read me twice',
      parameters: { max_new_tokens: 15 },
    })
    const [first, second] = await Promise.all([collect(client, jobId), collect(other, jobId)])
    expect(second).toEqual(first)
    endOf(first)
    const suffixes = await Promise.all(first.map(({ id }) => collect(other, jobId, id)))
    expect(suffixes).toEqual(first.map((_, index) => first.slice(index + 1)))
  })

  test('that connect anew after every event while it is written miss and repeat nothing', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ tokensPerSecond: 100, prefillMs: 20 }))
    const { job_id: jobId } = await client.enqueue({
      inputs: 'Once more',
      parameters: { max_new_tokens: 15 },
    })
    const read: unknown[] = []
    let after: string | undefined
    for (let over = false; !over;) {
      over = true
      for await (const event of client.events(jobId, { after })) {
        read.push(event)
        after = event.id
        over = event.event === 'end'
        break
      }
    }
    expect(read).toEqual(await readLog(lab.redis, KEYS, jobId))
  })

  test('of the text get its pieces and the whole result alike', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({ inputs: 'Both [eos:6]' })
    const result = await client.result(jobId)
    let text = ''
    for await (const piece of client.text(jobId)) text += piece
    expect(text).toBe(result.text)
    expect(await client.job(jobId)).toMatchObject({
      state: 'ended',
      attempts: 1,
      tokens_out: 7,
      end: result.end,
    })
  })
})

describe('the queue', () => {
  test('gives interactive jobs first and keeps the order within a priority', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ clock: createManualClock(), tokensPerSecond: 50 })
    await lab.worker(replica, { slots: 1 })
    const { job_id: first } = await client.enqueue({
      inputs: '[tag:first]',
      parameters: { max_new_tokens: 1000 },
    })
    await tokensIn(lab.redis, KEYS, first)
    const positions: number[] = []
    const enqueue = async (tag: string, priority: 'interactive' | 'batch') => {
      const job = { inputs: `[tag:${tag}]`, parameters: { max_new_tokens: 1 }, priority }
      positions.push((await client.enqueue(job, { jobId: tag })).queue_position)
    }
    for (const tag of ['b1', 'b2', 'b3']) await enqueue(tag, 'batch')
    for (const tag of ['i1', 'i2', 'i3']) await enqueue(tag, 'interactive')
    await enqueue('b4', 'batch')
    expect(positions).toEqual([0, 1, 2, 0, 1, 2, 6])
    expect(await client.waiting()).toEqual({ interactive: 3, batch: 4, delayed: 0 })
    await client.cancel(first)
    await client.result('b4')
    expect(replica.seen.requests.map(({ tag }) => tag)).toEqual([
      'first',
      'i1',
      'i2',
      'i3',
      'b1',
      'b2',
      'b3',
      'b4',
    ])
  })
})
