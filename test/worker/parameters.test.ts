import { describe, expect } from 'vitest'
import { seedOf } from '../../src/contract/ids.ts'
import { createTgiClient } from '../../src/tgi/client.ts'
import { collect, endOf, only, readLog, textOf } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'

describe('chats', () => {
  test('feed exactly the tokens of the chat route, without a doubled beginning of sequence', async ({
    lab,
  }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    await lab.worker(replica)
    const messages = [
      { role: 'system', content: 'Be brief' },
      { role: 'user', content: [{ type: 'text' as const, text: 'How are you?' }] },
      { role: 'assistant', content: 'Fine' },
      { role: 'user', content: 'And now?' },
    ]
    const tgi = createTgiClient({ url: replica.url })
    const { tokens, templatedText } = await tgi.chatTokenize(messages)
    await tgi.close()
    const parameters = { max_new_tokens: 12 }
    const chat = await client.enqueue({ messages, parameters })
    const plain = await client.enqueue({ inputs: templatedText.replace(/^<s>/, ''), parameters })
    const { text, end } = await client.result(chat.job_id)
    expect(end.tokens_in).toBe(tokens.length)
    expect(text).toBe((await client.result(plain.job_id)).text)
  })

  test('whose template writes no marker are answered, with the one that the tokenizer adds', async ({
    lab,
  }) => {
    const client = await lab.client()
    const replica = await lab.replica({ chatMarker: 'with-system' })
    await lab.worker(replica)
    const parameters = { max_new_tokens: 3 }
    const user = { role: 'user', content: 'And now?' }
    const unmarked = await client.result((await client.enqueue({ messages: [user], parameters })).job_id)
    const chat = [{ role: 'system', content: 'Be brief' }, user]
    const marked = await client.result((await client.enqueue({ messages: chat, parameters })).job_id)
    const tgi = createTgiClient({ url: replica.url })
    expect(unmarked.end.tokens_in).toBe((await tgi.chatTokenize([user])).tokens.length + 1)
    expect(marked.end.tokens_in).toBe((await tgi.chatTokenize(chat)).tokens.length)
    await tgi.close()
  })

  test('that the template refuses end in INVALID_PARAMS', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({ messages: [{ role: 'wizard', content: 'hm' }] })
    await expect(client.result(jobId)).rejects.toMatchObject({ kind: 'INVALID_PARAMS' })
  })
})

describe('parameters', () => {
  test.for([
    { asked: undefined, got: 7 },
    { asked: 3, got: 3 },
    { asked: 1500, got: 1500 },
  ])('max_new_tokens $asked gives $got tokens where the pool says 7', async ({ asked, got }, { lab }) => {
    const client = await lab.client({ max_new_tokens: 7 })
    const replica = await lab.replica()
    await lab.worker(replica)
    const inputs = 'Go on and on'
    const parameters = asked === undefined ? {} : { max_new_tokens: asked }
    const { job_id: jobId } = await client.enqueue({ inputs, parameters })
    const events = await collect(client, jobId)
    const end = endOf(events)
    expect(end).toMatchObject({ finish_reason: 'length', tokens_out: got, text: textOf(events) })
    expect(end.tokens_in).toBeGreaterThan(1)
    await expect.poll(() => replica.seen.open).toBe(0)
  })

  test('a seed of the job is used and told, and an absent one follows from the job id', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const parameters = { do_sample: true, temperature: 0.8, max_new_tokens: 20 }
    const run = async (jobId: string, seed?: number) => {
      await client.enqueue(
        { inputs: 'Sample', parameters: { ...parameters, ...(seed === undefined ? {} : { seed }) } },
        { jobId },
      )
      const events = await collect(client, jobId)
      const end = endOf(events)
      expect(only(events, 'started')[0]?.data.seed).toBe(end.seed)
      return end
    }
    const derived = await run('job-a')
    expect(derived.seed).toBe(seedOf('job-a'))
    const given = await run('job-b', 42)
    expect(given.seed).toBe(42)
    expect((await run('job-c', derived.seed)).text).toBe(derived.text)
    expect((await run('job-d', 42)).text).toBe(given.text)
    expect(given.text).not.toBe(derived.text)
  })

  test("the orchestrator's greedy profile is taken and is plain greedy", async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const profile = { do_sample: false, temperature: 0, top_p: 1, top_k: 0, typical_p: 1, max_new_tokens: 10 }
    const greedy = await client.enqueue({ inputs: 'Greed', parameters: profile })
    const plain = await client.enqueue({ inputs: 'Greed', parameters: { max_new_tokens: 10 } })
    expect((await client.result(greedy.job_id)).text).toBe((await client.result(plain.job_id)).text)
  })
})

describe('metrics events', () => {
  test('come at most twice a second when the pool asks for them, with true figures', async ({ lab }) => {
    const client = await lab.client({ metrics_interval_ms: 500 })
    const clock = createManualClock()
    await lab.worker(await lab.replica({ clock, tokensPerSecond: 100 }))
    const since = performance.now()
    const { job_id: jobId } = await client.enqueue({ inputs: 'Measure', parameters: { max_new_tokens: 130 } })
    // They come with tokens: one at each look, until there are two.
    const metricsAfterToken = async () => {
      clock.advance(10)
      return only(await readLog(lab.redis, KEYS, jobId), 'metrics').length
    }
    await expect.poll(metricsAfterToken).toBeGreaterThanOrEqual(2)
    clock.run()
    const events = await collect(client, jobId)
    endOf(events)
    const metrics = only(events, 'metrics')
    expect(metrics.length).toBeLessThanOrEqual((performance.now() - since) / 500)
    for (const { id, data } of metrics) {
      const before = only(
        events.slice(
          0,
          events.findIndex((event) => event.id === id),
        ),
        'token',
      ).length
      expect(data.tokens_out).toBe(before)
      expect(data.tokens_per_second).toBeGreaterThan(0)
      // Of ten minutes, less the seconds that this takes.
      expect(data.time_budget_remaining_ms).toBeGreaterThan(450_000)
    }
  })

  test('do not come unasked', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ tokensPerSecond: 100 }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'Do not', parameters: { max_new_tokens: 60 } })
    expect(only(await collect(client, jobId), 'metrics')).toEqual([])
  })
})
