import type { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { collect, endOf, only, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS } from '../support/lab.ts'
import { labOn } from '../support/own-redis.ts'
import { ownSentinels } from '../support/sentinels.ts'
import { freeze, killed } from '../support/signals.ts'

/** One write of the event log. */
interface SeenWrite {
  readonly expect: string
  readonly count: number
}

/** Lets a server keep every command that it runs. */
async function keepCommands(server: Redis): Promise<void> {
  await server.config('SET', 'slowlog-max-len', '100000')
  await server.config('SET', 'slowlog-log-slower-than', '0')
}

/**
 * Every write to a job's stream that the server has kept, the newest first. MONITOR would miss some: sentinels break every
 * line to a server whose part they change.
 */
async function keptWrites(server: Redis, jobId: string): Promise<SeenWrite[]> {
  const log = (await server.call('SLOWLOG', 'GET', '-1')) as [unknown, unknown, unknown, string[]][]
  return log.flatMap(([, , , [command = '', , , key, last = '', , count]]) =>
    /^eval/i.test(command) && key === KEYS.events(jobId) ? [{ expect: last, count: Number(count) }] : [],
  )
}

describe('a failover by sentinels in mid-stream', () => {
  test('to a replica that lacks the last entries: they are written again, under their ids, at once', async () => {
    const { url, primary, replica: copy, connect: lineTo } = await ownSentinels()
    const lab = await labOn(url)
    const client = await lab.client()
    const replica = await lab.replica({ tokensPerSecond: 50 })
    // A lock that outlives the failover: whether it is ours still is then the only question.
    await lab.worker(replica, { lockMs: 20_000 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Lose', parameters: { max_new_tokens: 400 } })
    const reading = collect(client, jobId)
    await tokensIn(lab.redis, KEYS, jobId, 10)

    // From here on the replica is told nothing: it may not come back to its primary.
    const [there, here] = [await lineTo(primary), await lineTo(copy)]
    await here.config('SET', 'masterauth', 'wrong')
    await there.call('CLIENT', 'KILL', 'TYPE', 'replica')
    await expect.poll(() => here.info('replication')).toContain('master_link_status:down')
    const kept = await readLog(here, KEYS, jobId)
    await tokensIn(there, KEYS, jobId, only(kept, 'token').length + 25)
    const before = await readLog(there, KEYS, jobId)
    await keepCommands(here)
    await killed(primary.pid)

    const events = await reading
    expect(endOf(events)).toMatchObject({ tokens_out: 400, attempts: 1 })
    expect(await readLog(here, KEYS, jobId)).toEqual(events)
    expect(events.slice(0, before.length)).toEqual(before)
    const repairs = (await keptWrites(here, jobId)).filter((write) => write.expect === kept.at(-1)?.id)
    expect(repairs).toHaveLength(1)
    expect(repairs[0]?.count).toBeGreaterThanOrEqual(before.length - kept.length)
    expect(replica.seen.requests).toHaveLength(1)

    const next = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 3 } })
    endOf(await collect(client, next.job_id))
  })

  test('from a primary that is frozen, and that wakes as a replica', async () => {
    const { url, primary, connect: lineTo } = await ownSentinels()
    const lab = await labOn(url)
    const client = await lab.client()
    await lab.worker(await lab.replica({ tokensPerSecond: 50 }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'Freeze', parameters: { max_new_tokens: 300 } })
    const reading = collect(client, jobId)
    await tokensIn(lab.redis, KEYS, jobId, 20)
    const thaw = freeze(primary.pid)
    const events = await reading
    expect(endOf(events).tokens_out).toBe(300)
    thaw()
    const line = await lineTo(primary)
    await expect.poll(() => line.info('replication')).toContain('role:slave')
    const next = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 2000 } })
    await tokensIn(lab.redis, KEYS, next.job_id)
    expect(await client.cancel(next.job_id)).toBe('cancelled')
  })
})
