import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import type { JobInput } from '../../src/contract/job.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'

/** Enqueues batch jobs, a hundred at once. */
async function enqueueMany(client: PoolClient, ids: readonly string[], job: JobInput): Promise<void> {
  for (let at = 0; at < ids.length; at += 100)
    await Promise.all(
      ids.slice(at, at + 100).map((jobId) => client.enqueue({ ...job, priority: 'batch' }, { jobId })),
    )
}

const FIVE = { inputs: 'hello', parameters: { max_new_tokens: 5 } }
const STDERR = new URL('as-terminal.ts', import.meta.url)

describe.concurrent('results', () => {
  test('prints answers, errors, and where the others stand, in the order given', async ({ stage }) => {
    const client = await stage.client()
    await client.enqueue(FIVE, { jobId: 'good' })
    const replica = await stage.replica()
    const worker = await stage.worker(replica)
    const { text } = await client.result('good')
    await worker.stop(0)
    await client.enqueue(FIVE, { jobId: 'waits' })
    await client.enqueue(FIVE, { jobId: 'unwanted' })
    await client.cancel('unwanted')
    const lines = [
      { job_id: 'nobody', error: { code: 'UNKNOWN_JOB', message: expect.any(String), retriable: false } },
      { job_id: 'waits', state: 'queued' },
      {
        job_id: 'unwanted',
        state: 'cancelled',
        error: { code: 'CANCELLED', message: 'on request', retriable: false },
      },
      {
        job_id: 'good',
        state: 'ended',
        text,
        finish_reason: 'length',
        usage: { tokens_in: expect.any(Number), tokens_out: 5 },
      },
    ]
    const ids = ['nobody', 'waits', 'unwanted', 'good']
    const all = await stage.cli(['results', ...ids])
    expect(jsonLines(all.stdout)).toEqual(lines)
    expect(all).toMatchObject({
      status: 1,
      stderr: 'tgi-pool: 1 ended, 1 cancelled, 1 not over, 1 unknown\n',
    })
    const [good, failed, both, open, none, json] = await Promise.all([
      stage.cli(['results', 'good']),
      stage.cli(['results', 'unwanted']),
      stage.cli(['results', 'good', 'unwanted']),
      stage.cli(['results', 'waits']),
      stage.cli(['results', 'nobody']),
      stage.cli(['results', 'good', 'good', '--json']),
    ])
    expect([good, failed, both, open, none].map(({ status }) => status)).toEqual([0, 3, 3, 1, 1])
    expect(good.stderr).toBe('')
    expect(jsonLines(json.stdout)).toHaveLength(2)
    expect(jsonLines(json.stderr)).toEqual([
      { summary: { ended: 2, failed: 0, cancelled: 0, not_over: 0, unknown: 0 } },
    ])
  })

  test('--text prints the answer alone, or says why there is none', async ({ stage }) => {
    const client = await stage.client()
    await stage.serve()
    await client.enqueue(FIVE, { jobId: 'good' })
    const { text } = await client.result('good')
    const [good, none, two] = await Promise.all([
      stage.cli(['results', 'good', '--text']),
      stage.cli(['results', 'nobody', '--text']),
      stage.cli(['results', 'good', 'good', '--text']),
    ])
    expect(good).toMatchObject({ status: 0, stdout: `${text}\n`, stderr: '' })
    expect(none).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringMatching(/^tgi-pool: UNKNOWN_JOB/),
    })
    expect(two).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('--text: expected one job, got 2'),
    })
  })

  test('refuses bad ids by name, and prints what came before them', async ({ stage }) => {
    const client = await stage.client()
    await client.enqueue(FIVE, { jobId: 'waits' })
    const cases: readonly (readonly [readonly string[], string | undefined, RegExp, number])[] = [
      [['results'], undefined, /expected job ids or --file, got neither/, 0],
      [['results', 'a', '--file', '-'], 'b\n', /expected job ids or --file, got both/, 0],
      [['results', 'waits', 'a b'], undefined, /job id: expected .*got "a b"/, 0],
      [['wait', '123'], undefined, /job id: expected .*got "123"/, 0],
      [['results', '--file', '-'], 'waits\na,b\nwaits\n', /standard input: line 2: job id: .*got "a,b"/, 1],
      [['results', '--file', '-'], '{"id":"x"}\n', /standard input: line 1: job_id: /, 0],
      [['results', '--file', '-'], '\n{"job_id":"x"\n', /standard input: line 2: expected a whole JSON/, 0],
      [['results', '--file', join(stage.dir, 'nope')], undefined, /--file: cannot read .*nope/, 0],
      [['wait', '--file', '-'], 'a b\n', /standard input: line 1: job id: .*got "a b"/, 0],
      [['wait', 'waits', '--timeout', 'soon'], undefined, /--timeout .*such as 90s/, 0],
    ]
    const results = await Promise.all(cases.map(([args, stdin]) => stage.cli(args, { stdin })))
    for (const [index, [args, , message, printed]] of cases.entries()) {
      expect(results[index]?.stderr, args.join(' ')).toMatch(message)
      expect(results[index]?.status, args.join(' ')).toBe(2)
      expect(jsonLines(results[index]?.stdout ?? '')).toHaveLength(printed)
    }
  })
})

describe.concurrent('wait', () => {
  test('prints a line as each job ends, in that order, and ends with the last one', async ({ stage }) => {
    const client = await stage.client()
    const names = ['a', 'b', 'c']
    for (const jobId of names) await client.enqueue(FIVE, { jobId })
    await client.enqueue(FIVE, { jobId: 'over' })
    await client.cancel('over')
    const waiting = stage.start(['wait', ...names, 'over', 'nobody'], { preload: STDERR })
    await waiting.printed('"over"')
    await waiting.printed('"nobody"')
    await client.cancel('b', { reason: 'enough' })
    await waiting.printed('"b"')
    expect(waiting.isOver).toBe(false)
    await stage.serve()
    const { status, stdout } = await waiting.over
    expect(status).toBe(1)
    const lines = jsonLines(stdout) as { job_id: string; state?: string; text?: string }[]
    expect(lines.map(({ job_id: id }) => id).toSorted()).toEqual(['a', 'b', 'c', 'nobody', 'over'])
    expect(lines[2]).toEqual({
      job_id: 'b',
      state: 'cancelled',
      error: { code: 'CANCELLED', message: 'enough', retriable: false },
    })
    const { text } = await client.result('a')
    expect(lines).toContainEqual({
      job_id: 'a',
      state: 'ended',
      text,
      finish_reason: 'length',
      usage: { tokens_in: expect.any(Number), tokens_out: 5 },
    })
  })

  test('exits with 0 when all end well and with 3 when one does not', async ({ stage }) => {
    const client = await stage.client()
    await stage.serve()
    for (const jobId of ['a', 'b', 'c']) await client.enqueue(FIVE, { jobId })
    const file = join(stage.dir, 'ids')
    await writeFile(file, 'a\nb\n')
    const good = await stage.cli(['wait', '--file', file])
    expect(good).toMatchObject({ status: 0, stderr: 'tgi-pool: 2 ended\n' })
    const late = await client.enqueue({ ...FIVE, deadline_ms: 1 })
    const failed = await stage.cli(['wait', 'c', late.job_id])
    expect(failed.status).toBe(3)
    expect(jsonLines(failed.stdout)).toContainEqual({
      job_id: late.job_id,
      state: 'failed',
      error: { code: 'DEADLINE_UNMET', message: expect.any(String), retriable: false },
    })
  })

  test('gives up after --timeout, and says how many are not over', async ({ stage }) => {
    const client = await stage.client()
    for (const jobId of ['a', 'b']) await client.enqueue(FIVE, { jobId })
    const [two, json] = await Promise.all([
      stage.cli(['wait', 'a', 'b', '--timeout', '1s']),
      stage.cli(['wait', 'a', '--timeout', '1s', '--json']),
    ])
    expect(two).toMatchObject({
      status: 1,
      stdout: '',
      stderr: 'tgi-pool: 2 jobs had not ended after 1s\n',
    })
    expect(json).toMatchObject({ status: 1, stdout: '' })
    expect(jsonLines(json.stderr)).toEqual([{ timeout: { not_over: 1 } }])
  })

  test('Ctrl-C leaves with 130, and the jobs go on', async ({ stage, expect: here }) => {
    const client = await stage.client()
    const clock = createManualClock()
    const replica = await stage.serve({ clock, tokensPerSecond: 50 })
    await client.enqueue(FIVE, { jobId: 'runs' })
    await here.poll(() => replica.seen.open).toBe(1)
    const waiting = stage.start(['wait', 'runs', 'nobody'])
    await waiting.printed('"nobody"')
    waiting.interruptTwice()
    expect(await waiting.over).toMatchObject({
      status: 130,
      stderr: expect.stringContaining('1 job keeps running; wait again to collect\n'),
    })
    expect(replica.seen.open).toBe(1)
    expect(await client.job('runs')).toMatchObject({ state: 'started' })
  })
})

describe('of many jobs', () => {
  test('results takes ids from a file or standard input, as enqueue prints them or one a line', async ({
    stage,
  }) => {
    const client = await stage.client()
    const ids = Array.from({ length: 300 }, (_, at) => `j-${at}`)
    await enqueueMany(client, ids, FIVE)
    const file = join(stage.dir, 'ids')
    const plain = `\uFEFF${ids.join('\r\n')}\n\n`
    const lines = ids.map((job_id) => JSON.stringify({ job_id, queue_position: 7 })).join('\n')
    await writeFile(file, plain)
    const expected = ids.map((job_id) => ({ job_id, state: 'queued' }))
    const results = await Promise.all([
      stage.cli(['results', '--file', file]),
      stage.cli(['results', '--file', '-'], { stdin: lines }),
    ])
    for (const { status, stdout, stderr } of results) {
      expect(jsonLines(stdout)).toEqual(expected)
      expect({ status, stderr }).toEqual({ status: 1, stderr: 'tgi-pool: 300 not over\n' })
    }
  })

  test('wait follows more jobs than it may have open at once', async ({ stage }) => {
    const client = await stage.client()
    const ids = Array.from({ length: 1200 }, (_, at) => `j-${at}`)
    await enqueueMany(client, ids, { inputs: 'x', parameters: { max_new_tokens: 1 } })
    const waiting = stage.start(['wait', '--file', '-'], { stdin: ids.join('\n') })
    await stage.worker(await stage.replica(), 64)
    const { status, stdout, stderr } = await waiting.over
    expect({ status, stderr }).toEqual({ status: 0, stderr: 'tgi-pool: 1200 ended\n' })
    const seen = jsonLines(stdout).map((line) => (line as { job_id: string }).job_id)
    expect(seen.toSorted()).toEqual(ids.toSorted())
  })
})
