import { mkdir, mkdtemp, rm, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { connectToServer } from '../../src/redis/connect.ts'
import { freePort, startRedisServer } from '../../src/redis/server.ts'
import type { RedisServer } from '../../src/redis/server.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import type { JobEvent } from '../../src/contract/event.ts'
import { collect, endOf, readLog, textOf, tokensIn } from '../support/job-log.ts'
import { KEYS } from '../support/lab.ts'
import type { Lab, Replica } from '../support/lab.ts'
import { labOn } from '../support/own-redis.ts'
import { killed } from '../support/signals.ts'

/** A server that keeps its data in a folder of its own. */
interface Stage {
  readonly server: RedisServer
  readonly dir: string
  /** A line for whoever ill-treats it. */
  readonly admin: Redis
  /** Starts it anew on its port. */
  again(args?: readonly string[]): Promise<void>
}

async function startStage(): Promise<Stage> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-refusals-'))
  const server = await startRedisServer({ dir })
  const servers = [server]
  const admin = await connectToServer(server.url, { role: 'commands' })
  onTestFinished(async () => {
    admin.disconnect()
    await Promise.all(servers.map((started) => started.stop()))
    await rm(dir, { recursive: true, force: true })
  })
  return {
    server,
    dir,
    admin,
    again: async (args = []) => void servers.push(await startRedisServer({ dir, port: server.port, args })),
  }
}

interface MidStream {
  readonly lab: Lab
  readonly client: PoolClient
  readonly replica: Replica
  readonly jobId: string
  readonly reading: Promise<JobEvent[]>
}

const TOKENS = 150

/** A job whose tokens come, and somebody who reads them. */
async function startJob(stage: Stage): Promise<MidStream> {
  const lab = await labOn(stage.server.url)
  const client = await lab.client()
  const replica = await lab.replica({ tokensPerSecond: 50 })
  // What is refused is the lock's and the lease's renewal, too; here it is to be only a matter of the log.
  await lab.worker(replica, { lockMs: 30_000, leaseMs: 30_000 })
  const parameters = { max_new_tokens: TOKENS }
  const { job_id: jobId } = await client.enqueue({ inputs: 'Refuse', parameters })
  const reading = collect(client, jobId)
  reading.catch(() => undefined)
  await tokensIn(lab.redis, KEYS, jobId, 10)
  return { lab, client, replica, jobId, reading }
}

/** That nothing was lost or doubled, and that it goes on. */
async function expectWhole({ lab, client, replica, jobId, reading }: MidStream): Promise<void> {
  const events = await reading
  expect(endOf(events)).toMatchObject({ tokens_out: TOKENS, attempts: 1, text: textOf(events) })
  expect(await readLog(lab.redis, KEYS, jobId)).toEqual(events)
  expect(replica.seen.requests).toHaveLength(1)
  const next = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 2 } })
  endOf(await collect(client, next.job_id))
}

/** How often a server has refused for a reason. */
async function refusals(admin: Redis, code: string): Promise<number> {
  const info = await admin.info('errorstats')
  return Number(new RegExp(`^errorstat_${code}:count=(\\d+)`, 'm').exec(info)?.[1] ?? 0)
}

interface Refusal {
  readonly code: string
  readonly cause: (stage: Stage) => Promise<unknown>
  readonly cure: (stage: Stage) => Promise<unknown>
}

const REFUSALS: readonly Refusal[] = [
  {
    code: 'READONLY',
    cause: async ({ admin }) => admin.replicaof('127.0.0.1', await freePort()),
    cure: ({ admin }) => admin.replicaof('NO', 'ONE'),
  },
  {
    code: 'NOREPLICAS',
    cause: ({ admin }) => admin.config('SET', 'min-replicas-to-write', '1'),
    cure: ({ admin }) => admin.config('SET', 'min-replicas-to-write', '0'),
  },
  {
    code: 'MISCONF',
    // Where its file should be is a folder.
    cause: async ({ admin, dir }) => {
      await mkdir(join(dir, 'dump.rdb'))
      await admin.config('SET', 'save', '3600 1')
      await admin.bgsave()
      await expect.poll(() => admin.info('persistence')).toContain('rdb_last_bgsave_status:err')
    },
    cure: async ({ admin, dir }) => {
      await rmdir(join(dir, 'dump.rdb'))
      await admin.bgsave()
      await expect.poll(() => admin.info('persistence')).toContain('rdb_last_bgsave_status:ok')
    },
  },
  {
    code: 'NOAUTH',
    cause: async ({ admin }) => {
      await admin.config('SET', 'requirepass', 'another')
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal')
    },
    cure: ({ admin }) => admin.config('SET', 'requirepass', ''),
  },
]

describe('a server that refuses in mid-stream', () => {
  test.for(REFUSALS)('with $code: no token is lost or doubled', async ({ code, cause, cure }) => {
    const stage = await startStage()
    const job = await startJob(stage)
    const before = await refusals(stage.admin, code)
    await cause(stage)
    await expect.poll(() => refusals(stage.admin, code)).toBeGreaterThan(before + 2)
    await cure(stage)
    await expectWhole(job)
  })
})

describe('a server that is killed in mid-stream', () => {
  test('and loads its file for a while: no token is lost or doubled', async () => {
    const stage = await startStage()
    const job = await startJob(stage)
    const filler = stage.admin.pipeline()
    for (let n = 0; n < 10_000; n += 1) filler.set(`filler-${n}`, '')
    await filler.exec()
    await killed(stage.server.pid)
    // Two seconds and a half, in which it answers after every 1,024 commands.
    const back = stage.again(['--key-load-delay', '200'])
    await expect.poll(() => stateOf(stage.server.port), { interval: 10 }).toBe('loading')
    await back
    await expectWhole(job)
  })

  test('and comes back without its data: reader and producer are told, and the worker serves what comes', async () => {
    const stage = await startStage()
    const { lab, client, replica, jobId, reading } = await startJob(stage)
    await killed(stage.server.pid)
    await rm(join(stage.dir, 'appendonlydir'), { recursive: true })
    await stage.again()
    await expect(reading).rejects.toMatchObject({ kind: 'GONE' })
    // The worker makes its pool anew.
    await expect.poll(() => client.config().catch(() => undefined)).toBeDefined()
    await expect(client.job(jobId)).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
    await expect(client.cancel(jobId)).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
    const next = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 2 } })
    endOf(await collect(client, next.job_id))
    // Nobody listens to the first one any more.
    await expect.poll(() => replica.seen.open).toBe(0)
    expect(await readLog(lab.redis, KEYS, jobId)).toEqual([])
  })
})

/** What a server says of itself while it may not be ready. */
async function stateOf(port: number): Promise<string> {
  const line = new Redis(port, '127.0.0.1', {
    enableReadyCheck: false,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  })
  line.on('error', () => undefined)
  try {
    return /^loading:1/m.test(await line.info('persistence')) ? 'loading' : 'ready'
  } catch {
    return 'away'
  } finally {
    line.disconnect()
  }
}
