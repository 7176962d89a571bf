import { describe, expect } from 'vitest'
import { KEYS, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import type { Lab } from '../support/lab.ts'

const SECRET = 'canary-of-the-prompt'

/** What Redis still holds of a job: keys that name it, and keys that hold its prompt. */
async function traces(lab: Lab, jobId: string): Promise<string[]> {
  const found: string[] = []
  for (const key of await lab.redis.keys('*')) {
    if (key.includes(jobId)) found.push(key)
    else if (String(await lab.redis.dumpBuffer(key)).includes(SECRET)) found.push(key)
  }
  if ((await lab.redis.zscore(KEYS.deadlines, jobId)) !== null) found.push('deadline')
  return found
}

describe('forget', () => {
  test('erases a job that is over', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({ inputs: SECRET, parameters: { max_new_tokens: 5 } })
    await client.result(jobId)
    expect(await traces(lab, jobId)).not.toEqual([])
    await client.forget(jobId)
    expect(await traces(lab, jobId)).toEqual([])
    await expect(client.job(jobId)).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
  })

  test('erases a job that waits, so that no worker ever sees it', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: SECRET })
    await client.forget(jobId)
    expect(await traces(lab, jobId)).toEqual([])
    const replica = await lab.replica()
    await lab.worker(replica)
    const next = await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 2 } })
    await client.result(next.job_id)
    expect(replica.seen.requests).toHaveLength(1)
  })

  test('cancels a job that runs, and erases it when its worker has let go', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ clock: createManualClock(), tokensPerSecond: 50 })
    const worker = await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: SECRET, parameters: { max_new_tokens: 1000 } })
    const reading = client.result(jobId)
    const told = expect(reading).rejects.toMatchObject({ kind: expect.stringMatching(/CANCELLED|GONE/) })
    await expect.poll(() => worker.busy).toBe(1)
    await expect.poll(() => replica.seen.open).toBe(1)
    await client.forget(jobId)
    expect(await traces(lab, jobId)).toEqual([])
    await told
    await expect.poll(() => [worker.busy, replica.seen.open]).toEqual([0, 0])
    // Nothing of it comes back by itself.
    expect(await traces(lab, jobId)).toEqual([])
  })

  test('frees the id: the next job of that name is another one', async ({ lab }) => {
    const client = await lab.client()
    await client.enqueue({ inputs: SECRET }, { jobId: 'again' })
    await client.forget('again')
    expect(await client.enqueue({ inputs: 'other' }, { jobId: 'again' })).toMatchObject({ existing: false })
  })

  test('of an unknown job says so', async ({ lab }) => {
    const client = await lab.client()
    await expect(client.forget('nobody')).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
  })
})
