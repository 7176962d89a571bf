import { appendFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe } from 'vitest'
import type { ExpectStatic } from 'vitest'
import { connectToServer } from '../../src/redis/connect.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { freePort } from '../../src/redis/server.ts'
import { jsonLines } from './run-cli.ts'
import type { CliRun } from './run-cli.ts'
import { test } from './stage.ts'
import type { Stage } from './stage.ts'

/** A record of the file of answers. */
interface AnswerLine {
  readonly job_id: string
  readonly line: number
  readonly text?: string
  readonly error?: { readonly code: string; readonly message: string }
}

/** The files of a batch in a stage's folder. */
async function batch(stage: Stage, lines: readonly (string | object)[]) {
  const input = join(stage.dir, 'jobs.jsonl')
  const out = join(stage.dir, 'answers.jsonl')
  const write = (all: readonly (string | object)[]) =>
    writeFile(
      input,
      all.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''),
    )
  await write(lines)
  return {
    input,
    out,
    write,
    args: ['batch', 'run', input, '--out', out],
    text: () => readFile(out, 'utf8').catch(() => ''),
    records: async () => jsonLines(await readFile(out, 'utf8')) as AnswerLine[],
  }
}

const job = (prompt: string | number) => ({ inputs: `line ${prompt}`, parameters: { max_new_tokens: 3 } })
const jobs = (count: number) => Array.from({ length: count }, (_, index) => job(index + 1))
const linesOf = (records: readonly AnswerLine[]) => records.map(({ line }) => line).toSorted((a, b) => a - b)
const idIn = (records: readonly AnswerLine[], line: number) =>
  records.find((record) => record.line === line)?.job_id
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

async function ended(runs: readonly CliRun[]): Promise<void> {
  for (const run of runs) run.kill('SIGKILL')
  await Promise.all(runs.map(({ over }) => over))
}

/** Waits until a run has put a number of records into its file. */
async function recorded(
  expect: ExpectStatic,
  run: CliRun,
  text: () => Promise<string>,
  count: number,
): Promise<void> {
  await expect
    .poll(async () => {
      if (run.isOver) throw new Error(`the run has ended: ${run.stderr}`)
      return (await text()).split('\n').length - 1
    })
    .toBeGreaterThanOrEqual(count)
}

describe.concurrent('a file of jobs', () => {
  test('becomes a file of answers, nothing on stdout, nothing left in Redis', async ({ stage, expect }) => {
    const client = await stage.client()
    await stage.serve()
    const files = await batch(stage, [job(1), '', { ...job(3), job_id: 'mine' }, job(4)])
    const { status, stdout, stderr } = await stage.cli(files.args)
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
    expect(stderr).toMatch(/^tgi-pool: 3 lines: 3 answered, 0 failed in \d+\.\d s\n$/)
    const records = await files.records()
    expect(linesOf(records)).toEqual([1, 3, 4])
    for (const record of records) {
      expect(record).toEqual({
        job_id:
          record.line === 3
            ? 'mine'
            : expect.stringMatching(new RegExp(`^[0-9a-f]{32}-${record.line}-[0-9a-f]{8}$`)),
        line: record.line,
        text: expect.stringMatching(/./),
        finish_reason: 'length',
        usage: { tokens_in: expect.any(Number), tokens_out: 3 },
      })
      await expect(client.job(record.job_id)).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
    }
    const before = await files.text()
    expect(await stage.cli([...files.args, '--json'])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('"total":3,"answered":3,"failed":0,"codes":{},"left":0'),
    })
    expect(await files.text()).toBe(before)
  })

  test('has a record also of each line that is refused or fails, and then exit 3', async ({
    stage,
    expect,
  }) => {
    await stage.client({ max_attempts: 1 })
    await stage.serve({ faults: [{ kind: 'http-500', match: 'bad prompt' }] })
    const files = await batch(stage, [
      job(1),
      'SECRET not JSON',
      { inputs: 'SECRET', paramters: {} },
      { ...job(4), job_id: 'same' },
      { ...job(5), job_id: 'same' },
      { inputs: 'SECRET', job_id: 'no good id' },
      job('bad prompt'),
    ])
    const { status, stdout, stderr } = await stage.cli([...files.args, '--json'])
    expect(status).toBe(3)
    expect(jsonLines(stdout)).toMatchObject([
      {
        summary: {
          total: 7,
          answered: 2,
          failed: 5,
          codes: { INVALID_PARAMS: 3, ID_CONFLICT: 1, REPLICA_EXHAUSTED: 1 },
          left: 0,
        },
      },
    ])
    const records = await files.records()
    expect(linesOf(records)).toEqual(numbers(7))
    expect(new Set(records.map(({ job_id: id }) => id)).size).toBe(7)
    const codes = records.toSorted((a, b) => a.line - b.line).map(({ error }) => error?.code)
    expect(codes).toEqual([
      undefined,
      'INVALID_PARAMS',
      'INVALID_PARAMS',
      undefined,
      'ID_CONFLICT',
      'INVALID_PARAMS',
      'REPLICA_EXHAUSTED',
    ])
    expect((await files.text()) + stderr).not.toContain('SECRET')
  })

  test('is run with few jobs in Redis, the others wait in the file', async ({ stage, expect }) => {
    const client = await stage.client()
    const clock = createManualClock()
    const files = await batch(stage, jobs(40))
    const run = stage.start([...files.args, '--window', '5'])
    await expect.poll(async () => (await client.waiting()).batch).toBe(5)
    const replica = await stage.replica({ clock, tokensPerSecond: 50 })
    await stage.worker(replica, 2)
    await expect.poll(() => replica.seen.open).toBe(2)
    expect((await client.waiting()).batch).toBe(3)
    const advancing = setInterval(() => clock.advance(1000), 5)
    stage.afterwards(() => clearInterval(advancing))
    let most = 0
    while (!run.isOver) {
      const { batch: waiting } = await client.waiting()
      most = Math.max(most, waiting)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    clearInterval(advancing)
    expect((await run.over).status).toBe(0)
    expect(most).toBeLessThanOrEqual(5)
    expect(linesOf(await files.records())).toEqual(numbers(40))
  })

  test('waits for room in a full queue and says so once', async ({ stage, expect }) => {
    await stage.client({ batch_max_queued: 1 })
    const files = await batch(stage, jobs(20))
    const run = stage.start(files.args)
    await run.printed('waiting for room', 'stderr')
    await stage.serve()
    const { status, stderr } = await run.over
    expect(status).toBe(0)
    expect(stderr.match(/waiting for room/g)).toHaveLength(1)
    expect(linesOf(await files.records())).toEqual(numbers(20))
  })

  test('whose command is killed is gone on with: each line once', async ({ stage, expect }) => {
    await stage.client()
    await stage.serve({ tokensPerSecond: 200 })
    const files = await batch(stage, jobs(150))
    const ids = new Map<number, string>()
    for (const at of [20, 70, 110]) {
      const run = stage.start([...files.args, '--window', '20'])
      await recorded(expect, run, files.text, at)
      run.kill('SIGKILL')
      await run.over
      // The last line may be cut.
      for (const { line, job_id: id } of jsonLines(
        (await files.text()).replace(/[^\n]*$/, ''),
      ) as AnswerLine[]) {
        expect(ids.get(line) ?? id).toBe(id)
        ids.set(line, id)
      }
    }
    const { status, stderr } = await stage.cli(files.args)
    expect(status).toBe(0)
    expect(stderr).toMatch(/^tgi-pool: resuming: \d+ of 150 lines are done\n/)
    const records = await files.records()
    expect(linesOf(records)).toEqual(numbers(150))
    for (const { line, job_id: id } of records) expect(ids.get(line) ?? id).toBe(id)
  })

  test('leaves its jobs in the queue on Ctrl-C, and the same command collects them', async ({
    stage,
    expect,
  }) => {
    const client = await stage.client()
    const files = await batch(stage, jobs(6))
    const run = stage.start(files.args)
    await expect.poll(async () => (await client.waiting()).batch).toBe(6)
    run.interruptTwice()
    const { status, stderr } = await run.over
    expect(status).toBe(130)
    expect(stderr).toMatch(
      /6 lines: 0 answered, 0 failed, 6 left in .* s\n.*Run the same command again to collect them/,
    )
    expect((await client.waiting()).batch).toBe(6)
    const replica = await stage.serve()
    await expect.poll(async () => (await client.waiting()).batch).toBe(0)
    await expect.poll(() => replica.seen.open).toBe(0)
    expect((await stage.cli(files.args)).status).toBe(0)
    expect(linesOf(await files.records())).toEqual(numbers(6))
    // None has run twice.
    expect(replica.seen.requests.length).toBe(6)
  })

  test('goes on when nobody reads its stderr', async ({ stage, expect }) => {
    const client = await stage.client()
    const files = await batch(stage, jobs(6))
    const run = stage.start(files.args)
    await expect.poll(async () => (await client.waiting()).batch).toBe(6)
    run.closeStderr()
    await stage.serve()
    expect((await run.over).status).toBe(0)
    expect(linesOf(await files.records())).toEqual(numbers(6))
  })

  test('runs failed lines again under new ids with --retry-failed, and only those', async ({
    stage,
    expect,
  }) => {
    await stage.client({ max_attempts: 1 })
    await stage.serve({ faults: [{ kind: 'http-500', match: 'fails', times: 2 }] })
    const files = await batch(stage, [
      job('fails 1'),
      job(2),
      { ...job('fails 3'), job_id: 'mine' },
      'not JSON',
    ])
    expect((await stage.cli(files.args)).status).toBe(3)
    const first = await files.records()
    expect(first.filter(({ error }) => error !== undefined)).toHaveLength(3)
    expect((await stage.cli(files.args)).status).toBe(3)
    expect(await files.records()).toEqual(first)
    expect((await stage.cli([...files.args, '--retry-failed'])).status).toBe(3)
    const second = (await files.records()).toSorted((a, b) => a.line - b.line)
    expect(linesOf(second)).toEqual(numbers(4))
    expect(second.map(({ error }) => error?.code)).toEqual([
      undefined,
      undefined,
      undefined,
      'INVALID_PARAMS',
    ])
    expect(idIn(second, 1)).toBe(`${idIn(first, 1)}-r1`)
    expect(idIn(second, 2)).toBe(idIn(first, 2))
    expect(idIn(second, 3)).toBe('mine-r1')
  })
})

describe.concurrent('the ids of a batch', () => {
  test('that name what a retry would be named do not keep it from ending', async ({ stage, expect }) => {
    await stage.client()
    const late = { ...job('late'), deadline_ms: 1 }
    const files = await batch(stage, [{ ...late, job_id: 'a' }])
    expect((await stage.cli(files.args)).status).toBe(3)
    await files.write([
      { ...late, job_id: 'a' },
      { ...late, job_id: 'a-r1' },
      { ...late, job_id: 'a' },
    ])
    expect((await stage.cli([...files.args, '--retry-failed'])).status).toBe(3)
    const errors = async () =>
      (await files.records())
        .toSorted((a, b) => a.line - b.line)
        .map(({ job_id: id, error }) => [/^[0-9a-f]{32}-/.test(id) ? '' : id, error?.code])
    expect(await errors()).toEqual([
      ['a-r1', 'DEADLINE_UNMET'],
      ['', 'ID_CONFLICT'],
      ['', 'ID_CONFLICT'],
    ])
    await files.write([
      { ...late, job_id: 'a' },
      { ...late, job_id: 'a-r1' },
      { ...late, job_id: 'a' },
      { ...late, job_id: 'a' },
    ])
    expect((await stage.cli(files.args)).status).toBe(3)
    expect((await errors())[3]).toEqual(['', 'ID_CONFLICT'])
    expect((await stage.cli([...files.args, '--retry-failed'])).status).toBe(3)
    expect(await errors()).toEqual([
      ['a-r2', 'DEADLINE_UNMET'],
      ['a-r1-r1', 'DEADLINE_UNMET'],
      ['', 'ID_CONFLICT'],
      ['', 'ID_CONFLICT'],
    ])
  })
})

describe.concurrent('the input of a batch', () => {
  test('may grow while it runs; the next run takes what was added', async ({ stage, expect }) => {
    const client = await stage.client()
    // Longer than what is read ahead.
    const long = (line: number) => JSON.stringify(job(line)) + ' '.repeat(20_000)
    const files = await batch(stage, numbers(30).map(long))
    const run = stage.start([...files.args, '--window', '1', '--json'])
    await expect.poll(async () => (await client.waiting()).batch).toBe(1)
    await appendFile(files.input, `${JSON.stringify(job(31))}\n{"inputs":"ha`)
    await stage.serve()
    const { status, stdout } = await run.over
    expect(status).toBe(0)
    expect(jsonLines(stdout)).toMatchObject([{ summary: { total: 30, left: 0 } }])
    expect(linesOf(await files.records())).toEqual(numbers(30))
    await appendFile(files.input, `lf","parameters":{"max_new_tokens":3}}\n`)
    expect((await stage.cli(files.args)).status).toBe(0)
    const records = await files.records()
    expect(linesOf(records)).toEqual(numbers(32))
    expect(records.filter(({ line }) => line > 30).map(({ error }) => error)).toEqual([undefined, undefined])
  })

  test('may ask for a retention too short to be read', async ({ stage, expect }) => {
    await stage.client()
    const replica = await stage.serve()
    const files = await batch(stage, [{ ...job(1), retention_ms: 1 }])
    expect((await stage.cli(files.args)).status).toBe(0)
    expect(replica.seen.requests.length).toBe(1)
  })

  test('cannot be stdin', async ({ stage, expect }) => {
    const { out } = await batch(stage, [])
    expect(await stage.cli(['batch', 'run', '-', '--out', out])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('expected a file, since it is read twice, got stdin'),
    })
  })
})

describe.concurrent('a batch is refused', () => {
  test('while another process runs it', async ({ stage, expect }) => {
    const client = await stage.client()
    const files = await batch(stage, jobs(3))
    const run = stage.start(files.args)
    await expect.poll(async () => (await client.waiting()).batch).toBe(3)
    const other = await stage.cli(files.args)
    expect(other).toMatchObject({ status: 2, stdout: '' })
    expect(other.stderr).toMatch(/^tgi-pool: CONFIG: --out: another process is writing .*answers\.jsonl/)
    run.kill('SIGKILL')
    await run.over
    await stage.serve()
    expect((await stage.cli(files.args)).status).toBe(0)
    expect(linesOf(await files.records())).toEqual(numbers(3))
  })

  test('when its input has changed; lines may be added', async ({ stage, expect }) => {
    await stage.client()
    await stage.serve()
    const files = await batch(stage, jobs(3))
    expect((await stage.cli(files.args)).status).toBe(0)
    const before = await files.text()
    await files.write([job(1), job('SECRET'), job(3)])
    const changed = await stage.cli(files.args)
    expect(changed).toMatchObject({ status: 2, stdout: '' })
    expect(changed.stderr).toMatch(
      /INVALID_PARAMS: .*jobs\.jsonl: one of lines 1 to 3 is not what the run started with/,
    )
    expect(changed.stderr).not.toContain('SECRET')
    expect(await files.text()).toBe(before)
    await files.write(jobs(5))
    expect((await stage.cli(files.args)).status).toBe(0)
    expect(linesOf(await files.records())).toEqual(numbers(5))
  })

  test('when the file of answers is not one of a run, of this pool', async ({ stage, expect }) => {
    await stage.client()
    await stage.serve()
    const files = await batch(stage, jobs(1))
    await writeFile(files.out, 'precious\n')
    const foreign = await stage.cli(files.args)
    expect(foreign).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('jsonl.run, the state of its run, does not'),
    })
    expect(await files.text()).toBe('precious\n')
    await writeFile(files.out, '')
    expect((await stage.cli(files.args)).status).toBe(0)
    const client = await stage.client()
    const other = `${client.pool}-other`
    await stage.cli(['pool', 'create', '--pool', other])
    const moved = await stage.cli([...files.args, '--pool', other])
    expect(moved).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(`belongs to pool ${client.pool}, got ${other}`),
    })
  })

  test('when its state cannot be written, with the file and what stays', async ({ stage, expect }) => {
    await stage.client()
    const files = await batch(stage, jobs(1))
    await mkdir(`${files.out}.run.next`)
    expect(await stage.cli(files.args)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(
        /^tgi-pool: INTERNAL: cannot write answers\.jsonl\.run: EISDIR: .*\. Nothing is lost: .*the same command/,
      ),
    })
  })

  test('without Redis, a pool or an input, before anything is written', async ({ stage, expect }) => {
    const files = await batch(stage, jobs(1))
    const env = { REDIS_URL: `redis://127.0.0.1:${await freePort()}` }
    const gone = await stage.cli(files.args, { env })
    expect(gone).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringMatching(/^tgi-pool: REDIS_UNAVAILABLE: /),
    })
    expect(await stage.cli(files.args)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('POOL_UNAVAILABLE'),
    })
    await stage.client()
    expect((await stat(files.out)).size).toBe(0)
    await expect(stat(`${files.out}.run`)).rejects.toMatchObject({ code: 'ENOENT' })
    const missing = await stage.cli(['batch', 'run', `${files.input}.none`, '--out', files.out])
    expect(missing).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/the file of jobs: cannot read .*: no such file\n$/),
    })
    await files.write(['[', '{}', ']'])
    expect(await stage.cli(files.args)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('got a JSON array'),
    })
  })
})

describe.concurrent('a Redis', () => {
  test('that dies and comes back without its data: the batch goes on by itself, each line once', async ({
    stage,
    expect,
  }) => {
    const first = await stage.redis()
    const env = { REDIS_URL: first.url }
    await stage.cli(['pool', 'create'], { env })
    const replica = await stage.replica({ tokensPerSecond: 200 })
    const workers = [stage.start(['worker', '--replica', replica.url], { env })]
    const files = await batch(stage, jobs(120))
    const run = stage.start([...files.args, '--window', '16'], { env })
    await recorded(expect, run, files.text, 30)
    await first.stop()
    await run.printed('; waiting\n', 'stderr')
    await stage.redis({ port: first.port })
    await stage.cli(['pool', 'create'], { env })
    workers.push(stage.start(['worker', '--replica', replica.url], { env }))
    const { status, stderr } = await run.over
    await ended(workers)
    expect(status).toBe(0)
    expect(stderr).toContain('tgi-pool: Redis is reachable again\n')
    expect(linesOf(await files.records())).toEqual(numbers(120))
  })

  test('that loses its data without a word is enqueued to again', async ({ stage, expect }) => {
    const own = await stage.redis()
    const env = { REDIS_URL: own.url }
    await stage.cli(['pool', 'create'], { env })
    const files = await batch(stage, jobs(8))
    const run = stage.start(files.args, { env })
    const redis = await connectToServer(own.url, { role: 'commands' })
    stage.afterwards(() => redis.disconnect())
    const waiting = () => redis.zcard(`tgi-pool:{${stage.pool}}:batch:prioritized`)
    await expect.poll(waiting).toBe(8)
    await redis.flushall()
    await stage.cli(['pool', 'create'], { env })
    await expect.poll(waiting).toBe(8)
    const replica = await stage.replica()
    const worker = stage.start(['worker', '--replica', replica.url], { env })
    const { status } = await run.over
    await ended([worker])
    expect(status).toBe(0)
    expect(linesOf(await files.records())).toEqual(numbers(8))
  })

  test('that is away does not keep the command from obeying Ctrl-C', async ({ stage, expect }) => {
    const own = await stage.redis()
    const env = { REDIS_URL: own.url }
    await stage.cli(['pool', 'create'], { env })
    const files = await batch(stage, jobs(100))
    const run = stage.start([...files.args, '--window', '10'], { env })
    const redis = await connectToServer(own.url, { role: 'commands' })
    await expect.poll(() => redis.zcard(`tgi-pool:{${stage.pool}}:batch:prioritized`)).toBe(10)
    redis.disconnect()
    await own.stop()
    run.kill('SIGINT')
    expect(await run.over).toMatchObject({ status: 130, stdout: '' })
  })
})
