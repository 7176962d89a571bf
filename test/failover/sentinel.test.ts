import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { describe, expect, onTestFinished, test } from 'vitest'
import { collect, endOf, only, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS } from '../support/lab.ts'
import { labOn } from '../support/own-redis.ts'
import { ownSentinels } from '../support/sentinels.ts'
import { freeze, killed } from '../support/signals.ts'

/** One write of the event log, as MONITOR tells it. */
interface SeenWrite {
  readonly expect: string
  readonly count: number
}

/** Every write to a job's stream from now on, told by its server. */
async function watchWrites(port: number, jobId: string): Promise<SeenWrite[]> {
  const writes: SeenWrite[] = []
  let over = false
  await watch()

  async function watch(): Promise<void> {
    const socket = connect(port, '127.0.0.1')
    onTestFinished(() => {
      over = true
      socket.destroy()
    })
    // Sentinels break every line to a server whose part they change.
    socket.once('close', () => void (over || watch()))
    const lines = createInterface(socket)
    lines.on('line', told)
    socket.write('MONITOR\r\n')
    await once(lines, 'line')
  }

  function told(line: string): void {
    const [command = '', , , key, last = '', , count] = [...line.matchAll(/"([^"]*)"/g)].map(([, arg]) => arg)
    if (!/^eval/i.test(command) || key !== KEYS.events(jobId)) return
    writes.push({ expect: last, count: Number(count) })
  }
  return writes
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
    const writes = await watchWrites(copy.port, jobId)
    await killed(primary.pid)

    const events = await reading
    expect(endOf(events)).toMatchObject({ tokens_out: 400, attempts: 1 })
    expect(await readLog(here, KEYS, jobId)).toEqual(events)
    expect(events.slice(0, before.length)).toEqual(before)
    const repairs = writes.filter((write) => write.expect === kept.at(-1)?.id)
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
