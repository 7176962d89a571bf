import type { Redis } from 'ioredis'
import { describe, expect } from 'vitest'
import { collect, endOf, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import { labOn, startOwnRedis } from '../support/own-redis.ts'
import { killed } from '../support/signals.ts'

describe('reading', () => {
  test('begins before any worker is there', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'Soon', parameters: { max_new_tokens: 3 } })
    const reading = collect(client, jobId)
    await lab.worker(await lab.replica())
    expect(endOf(await reading).tokens_out).toBe(3)
  })

  test('after the terminal event yields nothing', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({ inputs: 'Over', parameters: { max_new_tokens: 3 } })
    const events = await collect(client, jobId)
    expect(await collect(client, jobId, events.at(-1)?.id)).toEqual([])
  })

  test('stops with the reason of its signal, and at once when it is aborted already', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait' })
    const stop = new AbortController()
    const reading = client.result(jobId, { signal: stop.signal })
    await expect.poll(async () => String(await lab.redis.client('LIST'))).toContain('cmd=xread')
    stop.abort(new Error('enough'))
    await expect(reading).rejects.toThrow('enough')
    await expect(client.result(jobId, { signal: stop.signal })).rejects.toThrow('enough')
  })

  test('ends when the client is closed', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait' })
    const reading = client.result(jobId)
    const told = expect(reading).rejects.toMatchObject({ kind: 'REDIS_UNAVAILABLE' })
    await expect.poll(async () => String(await lab.redis.client('LIST'))).toContain('cmd=xread')
    await client.close()
    await told
  })

  test('shares two connections, however many read, and closes them with the client', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ tokensPerSecond: 100 }))
    const before = await connectionsOf(lab.redis)
    const job = { inputs: 'Half', parameters: { max_new_tokens: 20 } }
    const admissions = await Promise.all(Array.from({ length: 20 }, () => client.enqueue(job)))
    const readings = admissions.map(({ job_id: jobId }) => client.result(jobId))
    await expect.poll(() => connectionsOf(lab.redis)).toBe(before + 2)
    await Promise.all(readings)
    expect(await connectionsOf(lab.redis)).toBe(before + 2)
    await client.close()
    // The two, and the one that the client has for commands.
    await expect.poll(() => connectionsOf(lab.redis)).toBe(before - 1)
  })

  test('goes on by itself when its line is cut, again and again', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ tokensPerSecond: 100 }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'Cut', parameters: { max_new_tokens: 100 } })
    const reading = collect(client, jobId)
    for (const count of [10, 40, 70]) {
      await tokensIn(lab.redis, KEYS, jobId, count)
      const lines = String(await lab.redis.client('LIST')).split('\n')
      const reader = lines.find((line) => line.includes('cmd=xread'))
      const id = /^id=(\d+)/.exec(reader ?? '')?.[1]
      if (id !== undefined) await lab.redis.client('KILL', 'ID', id)
    }
    const events = await reading
    endOf(events)
    expect(events).toEqual(await readLog(lab.redis, KEYS, jobId))
  })

  test('tells apart a job that nobody knows, one that has expired and a cursor that is none', async ({
    lab,
  }) => {
    const client = await lab.client({ retention_ms: 1500 })
    await lab.worker(await lab.replica())
    await expect(client.result('nobody')).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
    await expect(client.job('nobody')).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Brief', parameters: { max_new_tokens: 2 } })
    const events = await collect(client, jobId)
    await expect.poll(() => lab.redis.exists(KEYS.events(jobId))).toBe(0)
    await expect(collect(client, jobId, events[1]?.id)).rejects.toMatchObject({ kind: 'GONE' })
    await expect(collect(client, jobId)).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
    await expect(collect(client, jobId, 'latest')).rejects.toMatchObject({ kind: 'INVALID_PARAMS' })
  })

  test('of the text throws the code of a job that failed, after the text that was there', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ faults: [{ kind: 'crash', after: 5 }] }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'Half' })
    const pieces: string[] = []
    const reading = (async () => {
      for await (const piece of client.text(jobId)) pieces.push(piece)
    })()
    await expect(reading).rejects.toMatchObject({ kind: 'WORKER_RESET', retriable: true })
    expect(pieces.join('')).not.toBe('')
    await expect(client.result(jobId)).rejects.toMatchObject({ kind: 'WORKER_RESET' })
  })
})

describe("a pool's config", () => {
  test('keeps what is set when it is created again, and changes when it is told to', async ({ lab }) => {
    const client = await lab.client({ max_new_tokens: 7 })
    expect((await client.create({ max_new_tokens: 9 })).max_new_tokens).toBe(7)
    expect((await client.set({ max_new_tokens: 9 })).max_new_tokens).toBe(9)
    expect((await client.config()).deadline_ms).toBe(600_000)
    await expect(client.set({ max_new_tokens: 0 })).rejects.toMatchObject({ kind: 'INVALID_PARAMS' })
    await expect(client.set({ colour: 'red' } as object)).rejects.toMatchObject({ kind: 'INVALID_PARAMS' })
    expect((await client.config()).max_new_tokens).toBe(9)
  })
})

describe('a Redis that is dead', () => {
  test('does not keep readers from being aborted, nor a client from being closed', async () => {
    const { server, again } = await startOwnRedis()
    const lab = await labOn(server.url)
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait' })
    const stops = Array.from({ length: 8 }, () => new AbortController())
    const ended: unknown[] = []
    for (const signal of [...stops.map((stop) => stop.signal), undefined]) {
      client.result(jobId, { signal }).catch((error: unknown) => ended.push(error))
    }
    await expect.poll(async () => String(await lab.redis.client('LIST')).match(/cmd=xread/g)).toHaveLength(1)
    await killed(server.pid)
    // One after the other, so that each meets its connection in another phase of trying again.
    for (const stop of stops) {
      const since = performance.now()
      await expect.poll(() => performance.now() - since, { interval: 5 }).toBeGreaterThan(45)
      stop.abort(new Error('enough'))
    }
    await expect.poll(() => ended).toMatchObject(stops.map(() => ({ message: 'enough' })))
    const closed = client.close()
    await expect.poll(() => ended[8]).toMatchObject({ kind: 'REDIS_UNAVAILABLE' })
    await closed
    await again()
  })
})

async function connectionsOf(redis: Redis): Promise<number> {
  return String(await redis.client('LIST'))
    .trim()
    .split('\n').length
}
