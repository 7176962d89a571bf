import { describe, expect } from 'vitest'
import { KEYS, POOL } from '../support/lab.ts'
import { tokensIn } from '../support/job-log.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { call, expectError, post } from './calls.ts'
import { test } from './stage.ts'

const JOB = { pool: POOL, inputs: 'x', parameters: { max_new_tokens: 200 } }

describe('a gateway whose Redis', () => {
  test('is out of memory refuses jobs and answers all else', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    await lab.worker(await lab.replica({ clock: createManualClock(), tokensPerSecond: 100 }))
    const ids: string[] = []
    for (let n = 0; n < 4; n += 1) ids.push(String((await post(`${url}/v1/jobs`, JOB)).json['job_id']))
    const [run = '', erased = '', kept = '', other = ''] = ids
    for (const id of [run, erased]) await tokensIn(lab.redis, KEYS, id)
    await lab.redis.config('SET', 'maxmemory', '1')
    for (const headers of [{}, { 'Idempotency-Key': 'mine' }]) {
      const answer = await post(`${url}/v1/jobs`, JOB, headers)
      expect(expectError(answer, 429, 'ADMISSION_REJECT')).toMatchObject({ retriable: true })
      expect(answer.headers['retry-after']).toBe('1')
    }
    for (const id of [run, kept]) expect((await post(`${url}/v1/jobs/${id}/cancel`, {})).status).toBe(200)
    for (const id of [erased, other])
      expect((await call(`${url}/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204)
    expect((await call(`${url}/v1/jobs/${run}`)).json).toMatchObject({ state: 'cancelled' })
    expect((await call(`${url}/readyz`)).status).toBe(200)
    await lab.redis.config('SET', 'maxmemory', '0')
    await expect.poll(async () => (await post(`${url}/v1/jobs`, JOB)).status).toBe(202)
    await client.cancel(kept).catch(() => undefined)
  })

  test('refuses says what Redis said', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    await lab.redis.config('SET', 'min-replicas-to-write', '1')
    for (const answer of [await post(`${url}/v1/jobs`, JOB), await post(`${url}/v1/jobs/${id}/cancel`, {})]) {
      expect(expectError(answer, 503, 'REDIS_UNAVAILABLE')).toMatchObject({
        message:
          'Redis has too few replicas and refuses writes (NOREPLICAS); the operation may still take effect',
      })
    }
    await lab.redis.config('SET', 'min-replicas-to-write', '0')
  })
})
