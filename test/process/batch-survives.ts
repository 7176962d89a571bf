/**
 * A batch whose command, worker and Redis are killed one after the other, each time followed by the same command: each line once,
 * and memory that does not grow. A test with a few hundred lines (batch-kill.test.ts); by hand with more:
 *
 * ```
 * node test/process/batch-survives.ts 5000 everysec
 * ```
 */
import { randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openPool } from '../../src/client/pools.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import type { RedisServer } from '../../src/redis/server.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import { startCli } from '../cli/run-cli.ts'
import type { CliRun } from '../cli/run-cli.ts'

/** What was seen. */
export interface Survival {
  /** How often each line has a record, and each id: all 1. */
  readonly linesSeen: number
  readonly idsSeen: number
  readonly records: number
  readonly errors: number
  /** The exit status of the last command. */
  readonly status: number | undefined
  /** Lines on record when each of the three kills came. */
  readonly killedAt: readonly number[]
  readonly seconds: number
  /** Resident memory in MB over time, of each process that lived long enough to be measured. */
  readonly rssMb: Readonly<Record<string, readonly number[]>>
  /** Redis's memory in KB before, at most and after; keys of the pool's jobs that are left. */
  readonly redis: {
    readonly beforeKb: number
    readonly mostKb: number
    readonly afterKb: number
    readonly jobKeys: number
  }
}

/** How often memory is measured (ms). */
const MEASURE_MS = 1000

const job = (line: number) => ({
  inputs: `line ${line} ${randomUUID()}`,
  parameters: { max_new_tokens: 4 },
})

/** Runs such a batch to its end. `fsync`: when Redis writes its file to the disk. */
export async function surviveKills(lines: number, fsync = 'always'): Promise<Survival> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-batch-'))
  const out = join(dir, 'answers.jsonl')
  const input = join(dir, 'jobs.jsonl')
  await writeFile(
    input,
    Array.from({ length: lines }, (_, at) => `${JSON.stringify(job(at + 1))}\n`).join(''),
  )
  const from = performance.now()
  const args = ['--appendfsync', fsync]
  let server: RedisServer = await startRedisServer({ dir, args })
  const env = { REDIS_URL: server.url, TGI_POOL: 'p' }
  const client = await openPool({ redisUrl: server.url, pool: 'p' })
  await client.create()
  const redis = await connectToServer(server.url, { role: 'commands' })
  const memoryKb = async () =>
    Math.round(Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]) / 1024)
  const beforeKb = await memoryKb()
  let mostKb = beforeKb
  const replicas = await Promise.all(
    [0, 1].map(() => startSimulator({ tokensPerSecond: 0, prefillMs: 0, maxConcurrentRequests: 32 })),
  )
  const started: CliRun[] = []
  const start = (command: readonly string[]) => {
    const run = startCli(command, { env })
    started.push(run)
    return run
  }
  const worker = (at: number) => start(['worker', '--replica', replicas[at]?.url ?? '', '--slots', '8'])
  const batch = () => start(['batch', 'run', input, '--out', out])
  const recorded = async () => (await readFile(out, 'utf8').catch(() => '')).split('\n').length - 1
  const rssMb: Record<string, number[]> = {}
  const rss = async (name: string, pid: number) => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    const kb = /^VmRSS:\s+(\d+)/m.exec(status)?.[1]
    if (kb !== undefined) (rssMb[name] ??= []).push(Math.round(Number(kb) / 1024))
  }
  const measuring = new AbortController()
  const measure = async () => {
    while (!measuring.signal.aborted) {
      mostKb = Math.max(mostKb, await memoryKb().catch(() => 0))
      await rss(`redis`, server.pid)
      for (const [at, run] of started.entries()) if (!run.isOver) await rss(`process ${at}`, run.pid)
      await sleep(MEASURE_MS, undefined, { signal: measuring.signal }).catch(() => undefined)
    }
  }
  const measured = measure()
  const killedAt: number[] = []
  const reach = async (share: number, run: CliRun) => {
    while ((await recorded()) < lines * share) {
      if (run.isOver) throw new Error(`the batch has ended: ${run.stderr}`)
      await sleep(20)
    }
    killedAt.push(await recorded())
  }
  try {
    const workers = [worker(0), worker(1)]
    const first = batch()
    await reach(0.2, first)
    first.kill('SIGKILL')
    await first.over
    const second = batch()
    await reach(0.45, second)
    workers[0]?.kill('SIGKILL')
    second.kill('SIGKILL')
    await Promise.all([workers[0]?.over, second.over])
    worker(0)
    const third = batch()
    await reach(0.7, third)
    process.kill(server.pid, 'SIGKILL')
    third.kill('SIGKILL')
    await third.over
    await server.stop()
    server = await startRedisServer({ dir, port: server.port, args })
    const last = batch()
    const { status, stderr } = await last.over
    if (status !== 0) throw new Error(`the last command ended with ${status}: ${stderr}`)
    const seconds = Math.round((performance.now() - from) / 1000)
    measuring.abort()
    await measured
    const records = (await readFile(out, 'utf8'))
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { job_id: string; line: number; error?: unknown })
    const keys = await redis.keys('*')
    return {
      records: records.length,
      linesSeen: new Set(records.map(({ line }) => line)).size,
      idsSeen: new Set(records.map(({ job_id: id }) => id)).size,
      errors: records.filter(({ error }) => error !== undefined).length,
      status,
      killedAt,
      seconds,
      rssMb,
      redis: {
        beforeKb,
        mostKb,
        afterKb: await memoryKb(),
        jobKeys: keys.filter((key) => /[0-9a-f]{32}-\d+-/.test(key)).length,
      },
    }
  } finally {
    measuring.abort()
    await measured
    for (const run of started) run.kill('SIGKILL')
    await Promise.all(started.map((run) => run.over))
    redis.disconnect()
    await client.close()
    await Promise.all(replicas.map((replica) => replica.stop()))
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  }
}

if (process.argv[1] === import.meta.filename)
  process.stdout.write(
    `${JSON.stringify(await surviveKills(Number(process.argv[2] ?? 5000), process.argv[3]), null, 1)}\n`,
  )
