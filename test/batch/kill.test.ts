import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { startCli } from '../cli/run-cli.ts'
import type { CliRun } from '../cli/run-cli.ts'
import { KEYS, POOL, test } from '../support/lab.ts'

const LINES = 90

test('a batch whose command and worker are killed is gone on with by the same command: each line once', async ({
  lab,
}) => {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-batch-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  const [input, out] = [join(dir, 'jobs.jsonl'), join(dir, 'answers.jsonl')]
  const jobs = Array.from(
    { length: LINES },
    (_, at) => `{"inputs":"line ${at + 1}","parameters":{"max_new_tokens":3}}\n`,
  )
  await writeFile(input, jobs.join(''))
  await lab.client()
  const replica = await lab.replica({ tokensPerSecond: 100 })
  const doomed = await lab.process(replica, { lockMs: 2000 })
  const env = { REDIS_URL: lab.redisUrl, TGI_POOL: POOL }
  const runs: CliRun[] = []
  onTestFinished(async () => {
    for (const run of runs) run.kill('SIGKILL')
    await Promise.all(runs.map(({ over }) => over))
  })
  const start = () => {
    const run = startCli(['batch', 'run', input, '--out', out], { env })
    runs.push(run)
    return run
  }
  const recorded = async () => (await readFile(out, 'utf8').catch(() => '')).split('\n').length - 1
  const first = start()
  await expect.poll(recorded).toBeGreaterThanOrEqual(15)
  first.kill('SIGKILL')
  await first.over
  const second = start()
  await expect.poll(recorded).toBeGreaterThanOrEqual(40)
  doomed.kill('SIGKILL')
  second.kill('SIGKILL')
  await Promise.all([doomed.exited, second.over])
  await lab.worker(await lab.replica(), { stalledIntervalMs: 300 })
  const last = await start().over
  expect(last).toMatchObject({ status: 0, stdout: '' })
  const records = (await readFile(out, 'utf8')).trimEnd().split('\n')
  const seen = records.map((record) => JSON.parse(record) as { job_id: string; line: number })
  expect(seen).toHaveLength(LINES)
  expect(new Set(seen.map(({ line }) => line)).size).toBe(LINES)
  expect(new Set(seen.map(({ job_id: id }) => id)).size).toBe(LINES)
  expect(await lab.redis.keys(KEYS.events('*'))).toEqual([])
})
