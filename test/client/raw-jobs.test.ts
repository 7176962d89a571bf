import { describe, expect } from 'vitest'
import { collect, errorOf, only } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { putRawJob } from '../support/raw-job.ts'

const SECRET = 'canary-of-the-prompt'

/** A job that runs: with its end, everything before it in the queue has been looked at. */
async function runNext(lab: Lab): Promise<void> {
  const client = await lab.client()
  await client.result((await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 2 } })).job_id)
}

/** Keys that hold the prompt. */
async function traces(lab: Lab): Promise<string[]> {
  const keys = await lab.redis.keys('*')
  const dumps = await Promise.all(keys.map((key) => lab.redis.dumpBuffer(key)))
  return keys.filter((_, index) => String(dumps[index]).includes(SECRET))
}

const BAD: Readonly<Record<string, Record<string, string>>> = {
  'data that is no JSON': { data: SECRET },
  'data that breaks off': { data: `{"inputs":"${SECRET}` },
  'data of many values': { data: `{"inputs":"${SECRET}","x":[${'{},'.repeat(300_000)}{}]}` },
  'data that is too deep': { data: `{"inputs":"${SECRET}","x":${'['.repeat(10_000)}` },
  'opts and data that are no JSON': { data: SECRET, opts: SECRET, progress: SECRET, parent: SECRET },
  'a counter below zero': { data: `{"inputs":"${SECRET}"}`, stc: '-1000000' },
}

describe('a job whose fields somebody wrote by hand', () => {
  test.for(Object.entries(BAD))(
    'with %s ends in INVALID_PARAMS, and nobody reads its prompt anywhere',
    async ([, fields], { lab }) => {
      const client = await lab.client()
      const replica = await lab.replica()
      await lab.worker(replica)
      await putRawJob(lab.redis, KEYS, 'odd', fields)
      const events = await collect(client, 'odd')
      expect(errorOf(events)).toMatchObject({
        code: 'INVALID_PARAMS',
        message: expect.stringMatching(/^job: (?:expected|invalid JSON)/),
      })
      expect(only(events, 'started')).toEqual([])
      await runNext(lab)
      expect(replica.seen.requests).toHaveLength(1)
      expect(JSON.stringify([events, lab.lines])).not.toContain(SECRET)
      expect(await traces(lab)).toEqual([])
    },
  )

  test('is forgotten while it waits, while it is taken, and when it is over', async ({ lab }) => {
    const client = await lab.client()
    await putRawJob(lab.redis, KEYS, 'waits', { data: SECRET, opts: SECRET })
    await client.forget('waits')
    expect(await traces(lab)).toEqual([])
    await lab.worker(await lab.replica())
    for (let round = 0; round < 3; round += 1) {
      const id = `taken-${round}`
      await putRawJob(lab.redis, KEYS, id, { data: SECRET, parent: SECRET })
      await client.forget(id)
      await runNext(lab)
      expect(await traces(lab)).toEqual([])
      expect(await lab.redis.exists(KEYS.events(id))).toBe(0)
    }
  })

  test('gets the deadline of its pool while it waits, whatever its body', async ({ lab }) => {
    const client = await lab.client({ deadline_ms: 1000 })
    const worker = await lab.worker(await lab.replica())
    await client.drain(worker.replicaId)
    await expect.poll(async () => (await client.replicas())[0]?.state).toBe('draining')
    for (const [at, fields] of Object.values(BAD).entries())
      await putRawJob(lab.redis, KEYS, `odd-${at}`, { timestamp: String(Date.now()), ...fields })
    for (const at of Object.keys(BAD).keys())
      expect(errorOf(await collect(client, `odd-${at}`)).code).toBe('DEADLINE_UNMET')
    expect(await traces(lab)).toEqual([])
  })
})
