import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { runBatch } from '../../src/batch/run-batch.ts'
import type { BatchProgress, BatchReport } from '../../src/batch/batch-options.ts'
import { DEFAULT_PREFIX } from '../../src/contract/keys.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { KEYS, POOL, test as base } from '../support/lab.ts'

interface Files {
  readonly input: string
  readonly out: string
  write(lines: readonly object[]): Promise<void>
  /** The lines that have a record, in the order of the records. */
  lines(): Promise<number[]>
  run(signal?: AbortSignal, report?: Partial<BatchReport>): Promise<BatchProgress>
}

const SILENT: BatchReport = {
  onStart: () => undefined,
  onFull: () => undefined,
  onAway: () => undefined,
  onBack: () => undefined,
  onKept: () => undefined,
}

const test = base.extend('files', async ({ lab }, { onCleanup }): Promise<Files> => {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-batch-'))
  onCleanup(() => rm(dir, { recursive: true }))
  const [input, out] = [join(dir, 'jobs.jsonl'), join(dir, 'answers.jsonl')]
  return {
    input,
    out,
    write: (lines) => writeFile(input, lines.map((line) => `${JSON.stringify(line)}\n`).join('')),
    async lines() {
      const text = await readFile(out, 'utf8').catch(() => '')
      return text
        .split('\n')
        .flatMap((line) => (line === '' ? [] : [(JSON.parse(line) as { line: number }).line]))
    },
    run: (signal = new AbortController().signal, report) =>
      runBatch({
        redisUrl: lab.redisUrl,
        pool: POOL,
        prefix: DEFAULT_PREFIX,
        input,
        out,
        retryFailed: false,
        signal,
        report: { ...SILENT, ...report },
      }),
  }
})

const jobs = (count: number) =>
  Array.from({ length: count }, (_, at) => ({ inputs: `line ${at + 1}`, parameters: { max_new_tokens: 2 } }))
const body = (tokens: number) => ({ inputs: 'line', parameters: { max_new_tokens: tokens } })
const numbers = (count: number) => Array.from({ length: count }, (_, at) => at + 1)
const ascending = (lines: readonly number[]) => lines.toSorted((a, b) => a - b)

describe('a batch', () => {
  test('records each line once, and leaves nothing of its jobs in Redis', async ({ lab, files }) => {
    await lab.client()
    await lab.worker(await lab.replica())
    await files.write(jobs(100))
    const end = await files.run()
    expect(end).toMatchObject({ total: 100, answered: 100, failed: 0, left: 0 })
    expect(ascending(await files.lines())).toEqual(numbers(100))
    expect(await lab.redis.keys(KEYS.events('*'))).toEqual([])
    expect(await Promise.all(KEYS.indexes.map((index) => lab.redis.zcard(index)))).toEqual([0, 0, 0, 0, 0])
    expect(await lab.redis.zcard(KEYS.expiry)).toBe(0)
    expect(await lab.redis.zcard(KEYS.deadlines)).toBe(0)
    expect(await files.run()).toMatchObject({ answered: 100, left: 0 })
    expect(await files.lines()).toHaveLength(100)
  })

  test('opens the same few connections, however many jobs it waits for', async ({ lab, files }) => {
    await lab.client()
    const clients = async () => String(await lab.redis.client('LIST')).match(/^id=/gm)?.length ?? 0
    const before = await clients()
    const seen: number[] = []
    for (const count of [1, 30]) {
      await files.write(jobs(count))
      const stop = new AbortController()
      const running = files.run(stop.signal)
      await expect.poll(() => lab.redis.zcard(KEYS.deadlines)).toBe(count)
      seen.push((await clients()) - before)
      stop.abort(new Error('enough'))
      await expect(running).rejects.toThrow('enough')
    }
    expect(seen[1]).toBe(seen[0])
    expect(seen[1]).toBeLessThanOrEqual(3)
  })

  test('that is stopped leaves its jobs, which the next run collects in the order of their ends', async ({
    lab,
    files,
  }) => {
    await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 50 })
    await lab.worker(replica)
    await files.write([body(40), body(3), body(20)])
    const stop = new AbortController()
    const running = files.run(stop.signal)
    await expect.poll(() => replica.seen.open).toBe(3)
    stop.abort(new Error('interrupted'))
    await expect(running).rejects.toThrow('interrupted')
    expect(await files.lines()).toEqual([])
    expect(replica.seen.open).toBe(3)
    const again = files.run()
    for (const tokens of [3, 20, 40]) {
      const ended = [3, 20, 40].indexOf(tokens) + 1
      await expect
        .poll(async () => {
          clock.advance(20)
          return (await files.lines()).length
        })
        .toBeGreaterThanOrEqual(ended)
    }
    expect(await again).toMatchObject({ answered: 3 })
    expect(await files.lines()).toEqual([2, 3, 1])
    // No job was run again.
    expect(replica.seen.requests).toHaveLength(3)
  })

  test('whose answer expired while nobody collected it runs that line again', async ({ lab, files }) => {
    await lab.client()
    await files.write(jobs(2))
    const stop = new AbortController()
    const running = files.run(stop.signal)
    await expect.poll(() => lab.redis.zcard(KEYS.deadlines)).toBe(2)
    stop.abort(new Error('away'))
    await expect(running).rejects.toThrow('away')
    const replica = await lab.replica()
    await lab.worker(replica)
    await expect.poll(() => lab.redis.zcard(KEYS.index('ended'))).toBe(2)
    const [stream = ''] = await lab.redis.keys(KEYS.events('*'))
    await lab.redis.del(stream)
    expect(await files.run()).toMatchObject({ answered: 2 })
    expect(ascending(await files.lines())).toEqual([1, 2])
    expect(replica.seen.requests).toHaveLength(3)
  })

  test('whose job was cancelled has its error on record', async ({ lab, files }) => {
    const client = await lab.client()
    await files.write([{ ...jobs(1)[0], job_id: 'mine' }])
    const running = files.run()
    await expect.poll(() => client.has('mine')).toBe(true)
    await expect.poll(() => client.cancel('mine')).toBe('cancelled')
    expect(await running).toMatchObject({ answered: 0, failed: 1, left: 0 })
    expect(JSON.parse(await readFile(files.out, 'utf8'))).toEqual({
      job_id: 'mine',
      line: 1,
      error: { code: 'CANCELLED', message: 'on request', retriable: false },
    })
  })

  test('keeps the deadlines of its jobs when no worker runs', async ({ lab, files }) => {
    await lab.client()
    await files.write(jobs(3).map((job) => ({ ...job, deadline_ms: 500 })))
    const end = await files.run()
    expect(Object.fromEntries(end.codes)).toEqual({ DEADLINE_UNMET: 3 })
  })

  test('that was killed between a record and the erasing of its job erases it the next time', async ({
    lab,
    files,
  }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    await files.write([{ ...jobs(1)[0], job_id: 'first' }])
    await files.run()
    await files.write([
      { ...jobs(1)[0], job_id: 'first' },
      { ...jobs(2)[1], job_id: 'second' },
    ])
    // As a run leaves it that was killed after the record was on the disk.
    const { job_id: id } = await client.enqueue(
      { ...jobs(2)[1], inputs: 'line 2', priority: 'batch' },
      { jobId: 'second' },
    )
    const { text, end } = await client.result(id)
    const { finish_reason, tokens_in, tokens_out } = end
    const record = { job_id: id, line: 2, text, finish_reason, usage: { tokens_in, tokens_out } }
    await writeFile(files.out, `${await readFile(files.out, 'utf8')}${JSON.stringify(record)}\n`)
    await files.run()
    expect(await files.lines()).toEqual([1, 2])
    await expect(client.job('second')).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
  })
})
