import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished } from 'vitest'
import { POOL } from '../support/lab.ts'
import { call, post } from './calls.ts'
import { test } from './stage.ts'
import type { TestGateway } from './stage.ts'

const JOB = { pool: POOL, inputs: 'hello', parameters: { max_new_tokens: 5 } }
const [INFO, WARN] = [30, 40]
const KEY = 'a-key-of-the-test-0123456789'

function said({ lines }: Pick<TestGateway, 'lines'>, msg: string): Record<string, unknown>[] {
  return lines.filter((line) => line['msg'] === msg)
}

describe('a gateway', () => {
  test('logs the end of a job that it cancels, once, without the reason given', async ({ lab, gateway }) => {
    await lab.client()
    const gate = await gateway()
    await lab.worker(await lab.replica({ tokensPerSecond: 50 }))
    const job = { ...JOB, parameters: { max_new_tokens: 5000 } }
    const id = String((await post(`${gate.url}/v1/jobs`, job)).json['job_id'])
    await expect.poll(async () => (await call(`${gate.url}/v1/jobs/${id}`)).json['state']).toBe('started')
    const cancel = async () => post(`${gate.url}/v1/jobs/${id}/cancel`, { reason: 'a private matter' })
    expect((await cancel()).json['outcome']).toBe('cancelled')
    expect((await cancel()).json['outcome']).toBe('already_over')
    await expect
      .poll(() => said(gate, 'job cancelled'))
      .toMatchObject([{ level: INFO, job_id: id, pool_id: POOL, code: 'CANCELLED', attempts: 1 }])
    expect((await call(`${gate.url}/v1/jobs/${id}`)).json['state']).toBe('cancelled')
    expect(JSON.stringify(gate.lines)).not.toContain('private')
  })

  test('logs a job whose deadline passes while no worker runs; of two gateways one does', async ({
    lab,
    gateway,
  }) => {
    await lab.client()
    const gates = [await gateway(), await gateway()]
    const [first] = gates
    const { json } = await post(`${first?.url}/v1/jobs`, { ...JOB, deadline_ms: 50 })
    const id = String(json['job_id'])
    // Whoever reads sees to it that deadlines are kept.
    await Promise.all(gates.map(({ url }) => call(`${url}/v1/jobs/${id}/events`)))
    await expect
      .poll(() => gates.flatMap((gate) => said(gate, 'job failed')))
      .toMatchObject([{ level: WARN, job_id: id, pool_id: POOL, code: 'DEADLINE_UNMET', tokens_out: 0 }])
  })

  test('names the code of an error answer and the key, never the key itself', async ({ lab, gateway }) => {
    await lab.client()
    const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-keys-'))
    onTestFinished(() => rm(dir, { recursive: true }))
    await writeFile(join(dir, 'keys'), `${KEY}\n`)
    const gate = await gateway({ bearerFile: join(dir, 'keys') })
    const headers = { Authorization: `Bearer ${KEY}` }
    await call(`${gate.url}/v1/jobs/no-such-job`, { headers })
    await call(`${gate.url}/v1/pools`, { headers })
    await call(`${gate.url}/v1/pools`)
    await call(`${gate.url}/nowhere`, { headers })
    await call(`${gate.url}/v1/pools`, { headers, method: 'DELETE' })
    await expect.poll(() => said(gate, 'request answered')).toHaveLength(5)
    const key = createHash('sha256').update(KEY).digest('hex').slice(0, 8)
    const lines = said(gate, 'request answered')
    expect(lines.map(({ status, code, key: name }) => [status, code, name])).toEqual([
      [404, 'UNKNOWN_JOB', key],
      [200, undefined, key],
      [401, 'UNAUTHORIZED', undefined],
      [404, 'NOT_FOUND', key],
      [405, 'METHOD_NOT_ALLOWED', key],
    ])
    expect(JSON.stringify(gate.lines)).not.toContain(KEY)
  })
})
