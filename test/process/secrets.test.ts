import { expect } from 'vitest'
import { collect, endOf, errorOf, only } from '../support/job-log.ts'
import { test } from '../support/lab.ts'

/** A word that no line may hold; the simulator's model never writes it by itself. */
const CANARY = 'xylophonequartz'

test('no prompt, no answer and no key is in anything a worker writes, whatever goes wrong', async ({
  lab,
}) => {
  const client = await lab.client({ first_token_timeout_ms: 300, token_timeout_ms: 300, max_attempts: 2 })
  const replica = await lab.replica({ apiKey: `key-${CANARY}`, tokensPerSecond: 500, maxTotalTokens: 200 })
  const worker = await lab.process(replica, {
    apiKey: `key-${CANARY}`,
    probeMs: 100,
    graceMs: 0,
  })
  const parameters = { max_new_tokens: 30 }
  const texts: string[] = []
  const messages: string[] = []
  const run = async (inputs: string, more: object = {}) => {
    const { job_id: jobId } = await client.enqueue({
      inputs: `${CANARY} ${inputs}`,
      parameters,
      on_interrupt: 'fail',
      ...more,
    })
    const events = await collect(client, jobId)
    for (const { data } of only(events, 'token')) texts.push(data.t)
    if (events.at(-1)?.event === 'error') messages.push(errorOf(events).message)
    else texts.push(endOf(events).text)
  }
  await run('goes well')
  for (const kind of [
    'crash',
    'malformed',
    'stall',
    'generation-error',
    'no-final-event',
    'http-500',
  ] as const) {
    replica.addFault({ kind, after: 3, times: 1 })
    await run(kind)
  }
  await run(`is too long ${'word '.repeat(300)}`)
  await run('is late', { deadline_ms: 1 })
  const chat = await client.enqueue({ messages: [{ role: 'wizard', content: CANARY }] })
  messages.push(errorOf(await collect(client, chat.job_id)).message)
  await lab.redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  const stopping = await client.enqueue({ inputs: CANARY, parameters: { max_new_tokens: 3 } })
  await collect(client, stopping.job_id)
  worker.kill('SIGTERM')
  await worker.exited

  const output = worker.output()
  expect(output).toContain('job ended')
  expect(output.toLowerCase()).not.toContain(CANARY)
  expect(messages.join('\n')).not.toContain(CANARY)
  expect(messages.length).toBeGreaterThan(5)
  // Whole answers; single words of one are words of ours as well.
  for (const text of texts.filter(({ length }) => length > 20)) expect(output).not.toContain(text.trim())
})

test('a wrong key makes the replica not ready, says why, and is told nowhere', async ({ lab }) => {
  const client = await lab.client()
  const replica = await lab.replica({ apiKey: 'the-right-one' })
  const worker = await lab.process(replica, {
    apiKey: CANARY,
    probeMs: 100,
    graceMs: 0,
  })
  const { job_id: jobId } = await client.enqueue({ inputs: 'Let me in', deadline_ms: 1500 })
  await expect
    .poll(() => client.replicas())
    .toMatchObject([{ state: 'unhealthy', slots: 0, reason: expect.stringMatching(/key/i) }])
  const error = errorOf(await collect(client, jobId))
  expect(error.code).toBe('DEADLINE_UNMET')
  worker.kill('SIGTERM')
  await worker.exited
  expect(worker.output().toLowerCase()).not.toContain(CANARY)
  expect(JSON.stringify([await client.replicas(), error])).not.toContain(CANARY)
})
