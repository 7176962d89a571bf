import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { jsonLines } from './run-cli.ts'
import type { CliResult } from './run-cli.ts'
import { test } from './stage.ts'
import type { Stage } from './stage.ts'

/** A terminal is a Node-only fiction here: the suite must run on machines without `script`. */
const AS_TERMINAL = new URL('as-terminal.ts', import.meta.url)

async function jobsFile(stage: Stage, lines: readonly (string | object)[]): Promise<string> {
  const file = join(stage.dir, 'jobs.jsonl')
  await writeFile(
    file,
    lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''),
  )
  return file
}

function idsOf({ stdout }: CliResult): unknown[] {
  return jsonLines(stdout).map((line) => (line as { job_id: unknown }).job_id)
}

/** What a file ends with on stderr. */
function summary(counts: string): unknown {
  return expect.stringMatching(new RegExp(`^tgi-pool: ${counts} in \\d+\\.\\d s\n$`))
}

describe.concurrent('one job', () => {
  test('is told by its id and its place, and waits for a worker', async ({ stage }) => {
    const client = await stage.client()
    const { stdout, ...rest } = await stage.cli([
      'enqueue',
      'hello',
      '--max-new-tokens',
      '7',
      '--priority',
      'batch',
    ])
    expect(rest).toEqual({ status: 0, signal: undefined, stderr: '' })
    expect(jsonLines(stdout)).toEqual([
      { job_id: expect.stringMatching(/^[0-9a-f-]{36}$/), queue_position: 0 },
    ])
    expect(await client.waiting()).toMatchObject({ interactive: 0, batch: 1 })
    const [id] = idsOf({ stdout, ...rest })
    expect(await client.job(String(id))).toMatchObject({ state: 'queued' })
  })

  test('is the same when id and body are, and refused when the body is not', async ({ stage }) => {
    const client = await stage.client()
    const enqueue = (prompt: string, ...flags: string[]) =>
      stage.cli(['enqueue', prompt, '--job-id', 'mine', ...flags])
    const first = await enqueue('hello')
    const again = await enqueue('hello')
    const other = await enqueue('SECRET other', '--json')
    expect(first).toMatchObject({ status: 0, stdout: '{"job_id":"mine","queue_position":0}\n' })
    expect(again).toEqual(first)
    expect(other).toMatchObject({ status: 1, stdout: '' })
    expect(jsonLines(other.stderr)).toEqual([
      { error: { code: 'ID_CONFLICT', message: expect.stringContaining('mine'), retriable: false } },
    ])
    expect(other.stderr).not.toContain('SECRET')
    expect(await client.waiting()).toMatchObject({ interactive: 1, batch: 0 })
  })

  test('reads its prompt from stdin when the prompt is -', async ({ stage }) => {
    const client = await stage.client()
    await stage.serve()
    const result = await stage.cli(['enqueue', '-', '--max-new-tokens', '3'], { stdin: 'the prompt' })
    expect(result).toMatchObject({ status: 0, stderr: '' })
    expect((await client.result(String(idsOf(result)[0]))).end.tokens_out).toBe(3)
  })

  test('is refused with the known pools when nobody made its pool', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['enqueue', 'hello', '--pool', 'misspelt'])
    expect(result).toMatchObject({ status: 1, stdout: '' })
    expect(result.stderr).toMatch(
      /^tgi-pool: POOL_UNAVAILABLE: no pool "misspelt" .*pool create --pool misspelt\n$/,
    )
    expect(result.stderr).toContain(stage.pool)
  })

  test('is refused when the queue is full, with how many wait and how many may', async ({ stage }) => {
    await stage.client({ max_queued: 1 })
    await stage.cli(['enqueue', 'first'])
    const result = await stage.cli(['enqueue', 'second'])
    expect(result).toMatchObject({ status: 1, stdout: '' })
    expect(result.stderr).toMatch(/^tgi-pool: ADMISSION_REJECT: .* 1 jobs are waiting, the limit is 1/)
  })
})

describe.concurrent('a file of jobs', () => {
  test('is answered in its order, blank lines left out', async ({ stage }) => {
    const client = await stage.client()
    const ids = Array.from({ length: 200 }, (_, index) => `job-${index}`)
    const lines = ids.flatMap((id, index) =>
      index % 50 === 0 ? ['', { job_id: id, inputs: id }] : [{ job_id: id, inputs: id }],
    )
    const result = await stage.cli(['enqueue', '--file', await jobsFile(stage, lines)])
    expect(result).toMatchObject({ status: 0, stderr: summary('200 accepted, 0 existing, 0 refused') })
    expect(idsOf(result)).toEqual(ids)
    expect(await client.waiting()).toMatchObject({ interactive: 0, batch: 200 })
    const again = await stage.cli(['enqueue', '--file', await jobsFile(stage, lines)])
    expect(again).toMatchObject({ status: 0, stderr: summary('0 accepted, 200 existing, 0 refused') })
    expect(await client.waiting()).toMatchObject({ interactive: 0, batch: 200 })
  })

  test('tells bad lines by their number and enqueues the others', async ({ stage }) => {
    const client = await stage.client()
    const file = await jobsFile(stage, [
      { job_id: 'a', inputs: 'fine' },
      'SECRET not JSON',
      '',
      { inputs: 'SECRET', paramters: {} },
      ['SECRET'],
      { inputs: 'SECRET', parameters: { max_new_tokens: 'ten' } },
      { inputs: 'SECRET', parameters: { max_tokens: 5 } },
      { job_id: 7, inputs: 'SECRET' },
      { inputs: '' },
      { job_id: 'a', inputs: 'SECRET other body' },
      { job_id: 'b', inputs: 'fine' },
    ])
    const { status, stdout, stderr } = await stage.cli(['enqueue', '--file', file])
    expect(status).toBe(2)
    expect(jsonLines(stdout)).toMatchObject([{ job_id: 'a' }, { job_id: 'b' }])
    expect(stderr.split('\n')).toEqual([
      'tgi-pool: line 2: expected a JSON object such as {"inputs":"a prompt"}, got something that is not JSON',
      'tgi-pool: line 4: job: unknown field "paramters" (did you mean parameters?)',
      'tgi-pool: line 5: expected a JSON object, got an array of 1',
      expect.stringMatching(/^tgi-pool: line 6: job: parameters\.max_new_tokens: expected number, got /),
      'tgi-pool: line 7: job: parameters: unknown field "max_tokens" (use max_new_tokens)',
      'tgi-pool: line 8: job_id: expected a string, got a number',
      expect.stringMatching(/^tgi-pool: line 9: job: inputs: .*empty/),
      expect.stringMatching(/^tgi-pool: line 10: job id a .*another body/),
      expect.stringMatching(
        /^tgi-pool: 2 accepted, 0 existing, 8 refused \(7 INVALID_PARAMS, 1 ID_CONFLICT\) in \d+\.\d s$/,
      ),
      '',
    ])
    expect(await client.waiting()).toMatchObject({ interactive: 0, batch: 2 })
  })

  test('comes through a pipe as -, its last line with or without an end', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['enqueue', '--file', '-'], {
      stdin: '{"job_id":"x","inputs":"one"}\r\n\r\n{"job_id":"y","inputs":"two"}',
    })
    expect(result).toMatchObject({ status: 0, stderr: summary('2 accepted, 0 existing, 0 refused') })
    expect(idsOf(result)).toEqual(['x', 'y'])
  })

  test('is torn nowhere but at its line ends, and is refused where it is not UTF-8', async ({ stage }) => {
    await stage.client()
    const file = join(stage.dir, 'jobs.jsonl')
    const bad = Buffer.from('{"inputs":"SECRET caf\xe9"}\n', 'latin1')
    await writeFile(file, Buffer.concat([Buffer.from('{"job_id":"u","inputs":"a\u2028b\u0085c"}\n'), bad]))
    const result = await stage.cli(['enqueue', '--file', file])
    expect(result).toMatchObject({ status: 2, stdout: '{"job_id":"u","queue_position":0}\n' })
    expect(result.stderr).toMatch(/^tgi-pool: line 2: .*expected UTF-8, got other bytes from byte 21 on/)
    expect(result.stderr).not.toContain('SECRET')
  })

  test('that is one JSON array is refused with what to do', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['enqueue', '--file', '-'], { stdin: '[{"inputs":"SECRET"}]' })
    expect(result).toMatchObject({ status: 2, stdout: '' })
    expect(result.stderr).toMatch(/^tgi-pool: INVALID_PARAMS: --file: .*a JSON array.*jq -c/)
    expect(result.stderr).not.toContain('SECRET')
  })

  test('that is not there is bad usage that names it', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['enqueue', '--file', join(stage.dir, 'nope.jsonl')])
    expect(result).toMatchObject({ status: 2, stdout: '' })
    expect(result.stderr).toMatch(/^tgi-pool: CONFIG: --file: .*nope\.jsonl/)
  })

  test('that is a folder is bad usage that names it', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['enqueue', '--file', stage.dir])
    expect(result).toMatchObject({ status: 2, stderr: expect.stringContaining(stage.dir) })
  })

  test('refuses flags of a single job that it would not obey', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['enqueue', '--file', '-', '--max-new-tokens', '3', '--job-id', 'z'], {
      stdin: '{"inputs":"one"}\n',
    })
    expect(result.status).toBe(2)
  })

  test('has the priority of each line, else that of --priority, else batch', async ({ stage }) => {
    const client = await stage.client()
    const file = await jobsFile(stage, [
      { inputs: 'a' },
      { inputs: 'b', priority: 'interactive' },
      { inputs: 'c', priority: 'batch' },
    ])
    await stage.cli(['enqueue', '--file', file])
    expect(await client.waiting()).toMatchObject({ interactive: 1, batch: 2 })
    await stage.cli(['enqueue', '--file', file, '--priority', 'interactive'])
    expect(await client.waiting()).toMatchObject({ interactive: 3, batch: 3 })
  })

  test('waits where the queue is full, says so once, and goes on when there is room', async ({ stage }) => {
    const client = await stage.client({ batch_max_queued: 5 })
    const ids = Array.from({ length: 12 }, (_, n) => `w${n}`)
    const file = await jobsFile(
      stage,
      ids.map((id) => ({ job_id: id, inputs: 'x', parameters: { max_new_tokens: 2 } })),
    )
    const enqueue = stage.start(['enqueue', '--file', file])
    await enqueue.printed('waiting for room', 'stderr')
    expect(await client.waiting()).toMatchObject({ batch: 5 })
    await stage.serve()
    const result = await enqueue.over
    expect(result.status).toBe(0)
    expect(idsOf(result)).toEqual(ids)
    expect(result.stderr.match(/waiting for room/g)).toHaveLength(1)
    expect(result.stderr).toMatch(/tgi-pool: 12 accepted, 0 existing, 0 refused in [\d.]+ s\n$/)
    for (const id of ids) await client.result(id)
  }, 60_000)

  test('stops at the first job without room with --no-wait, and tells what it got accepted', async ({
    stage,
  }) => {
    const client = await stage.client({ batch_max_queued: 5 })
    const file = await jobsFile(
      stage,
      Array.from({ length: 20 }, () => ({ inputs: 'x' })),
    )
    const result = await stage.cli(['enqueue', '--file', file, '--no-wait'])
    expect(result.status).toBe(1)
    expect(idsOf(result)).toHaveLength((await client.waiting()).batch)
    expect(idsOf(result)).toHaveLength(5)
    expect(result.stderr).toMatch(/^tgi-pool: 5 accepted, 0 existing, 0 refused in /m)
    expect(result.stderr).toMatch(/^tgi-pool: ADMISSION_REJECT: .*batch_max_queued.*after 5 accepted jobs/m)
  })

  test('that is interrupted while it waits ends at once with its summary', async ({ stage }) => {
    const client = await stage.client({ batch_max_queued: 2 })
    const file = await jobsFile(
      stage,
      Array.from({ length: 200 }, () => ({ inputs: 'x' })),
    )
    const enqueue = stage.start(['enqueue', '--file', file, '--json'])
    await enqueue.printed('"waiting"', 'stderr')
    enqueue.kill('SIGINT')
    const result = await enqueue.over
    expect(result.status).toBe(130)
    expect(idsOf(result)).toHaveLength((await client.waiting()).batch)
    expect(jsonLines(result.stderr)).toEqual([
      { waiting: { code: 'ADMISSION_REJECT', message: expect.stringContaining('batch_max_queued') } },
      {
        summary: {
          accepted: 2,
          existing: 0,
          refused: {},
          seconds: expect.any(Number),
          interrupted: true,
        },
      },
    ])
  })

  test('of 10,000 is accepted whole, with a summary as the only word on stderr when that is a pipe', async ({
    stage,
  }) => {
    const client = await stage.client()
    const file = await jobsFile(
      stage,
      Array.from({ length: 10_000 }, () => ({ inputs: 'hello', parameters: { max_new_tokens: 2 } })),
    )
    const result = await stage.cli(['enqueue', '--file', file])
    expect(result).toMatchObject({ status: 0, stderr: summary('10000 accepted, 0 existing, 0 refused') })
    expect(new Set(idsOf(result)).size).toBe(10_000)
    expect(await client.waiting()).toMatchObject({ interactive: 0, batch: 10_000 })
  })

  test('has a bar on a terminal, which ends full, and stdout is the same as ever', async ({ stage }) => {
    await stage.client()
    const file = await jobsFile(
      stage,
      Array.from({ length: 300 }, () => ({ inputs: 'hello' })),
    )
    const result = await stage.cli(['enqueue', '--file', file], { preload: AS_TERMINAL })
    expect(result.status).toBe(0)
    expect(idsOf(result)).toHaveLength(300)
    expect(result.stderr).toContain('100% | 300 jobs')
  })

  test('from a pipe has a counter on a terminal, since nobody knows its end', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['enqueue', '--file', '-'], {
      preload: AS_TERMINAL,
      stdin: '{"inputs":"a"}\n{"inputs":"b"}\n',
    })
    expect(result).toMatchObject({ status: 0, stderr: expect.stringContaining('enqueued 2 jobs') })
  })

  test('tells its bad lines as JSON with --json', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['enqueue', '--file', '-', '--json'], { stdin: 'not JSON\n' })
    expect(result).toMatchObject({ status: 2, stdout: '' })
    expect(jsonLines(result.stderr)[0]).toMatchObject({ error: { code: 'INVALID_PARAMS', line: 1 } })
  })

  test('that is interrupted has told every job it got accepted, and shows the cursor again', async ({
    stage,
  }) => {
    const client = await stage.client()
    const file = await jobsFile(
      stage,
      Array.from({ length: 10_000 }, () => ({ inputs: 'hello' })),
    )
    const enqueue = stage.start(['enqueue', '--file', file], { preload: AS_TERMINAL })
    await enqueue.printed('job_id')
    enqueue.kill('SIGINT')
    const result = await enqueue.over
    expect(result.status).toBe(130)
    const accepted = (await client.waiting()).batch
    expect(idsOf(result)).toHaveLength(accepted)
    expect(result.stderr).toMatch(
      new RegExp(`tgi-pool: ${accepted} accepted, 0 existing, 0 refused in .* s; interrupted`),
    )
    expect(result.stderr.lastIndexOf('\u001B[?25h')).toBeGreaterThan(result.stderr.lastIndexOf('\u001B[?25l'))
  })
})
