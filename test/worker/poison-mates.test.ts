import { expect } from 'vitest'
import { collect, endOf, errorOf } from '../support/job-log.ts'
import { test } from '../support/lab.ts'

test('a prompt that fails its whole batch after its first tokens costs the others no answer', async ({
  lab,
}) => {
  const client = await lab.client()
  const fault = { kind: 'generation-error', match: 'POISON', after: 5, batch: true } as const
  const replica = await lab.replica({ tokensPerSecond: 100, faults: [fault] })
  const worker = await lab.worker(replica, { slots: 4 })
  await expect.poll(() => worker.state).toBe('ready')
  const run = async (inputs: string) =>
    collect(client, (await client.enqueue({ inputs, parameters: { max_new_tokens: 50 } })).job_id)
  const good = ['One', 'Two', 'Three'].map(run)
  const bad = run('POISON')
  for (const events of await Promise.all(good)) expect(endOf(events).tokens_out).toBe(50)
  expect(errorOf(await bad).code).toBe('WORKER_RESET')
})
