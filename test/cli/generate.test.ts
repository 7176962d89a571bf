import { describe, expect } from 'vitest'
import { seedOf } from '../../src/contract/ids.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'

const AS_TERMINAL = new URL('as-terminal.ts', import.meta.url)

describe.concurrent('generate', () => {
  test('prints the text and nothing else; the flags are those of the job', async ({ stage }) => {
    const client = await stage.client()
    await stage.serve()
    const flags = [
      '--max-new-tokens',
      '8',
      '--seed',
      '7',
      '--temperature',
      '0.5',
      '--stop',
      'never',
      '--job-id',
      'j',
    ]
    const result = await stage.cli(['generate', 'hello', ...flags])
    const { text, end } = await client.result('j')
    expect(result).toEqual({ status: 0, signal: undefined, stdout: `${text}\n`, stderr: '' })
    expect(end).toMatchObject({ tokens_out: 8, seed: 7 })
  })

  test('with --json prints the events instead', async ({ stage }) => {
    await stage.serve()
    const result = await stage.cli(['generate', 'hello', '--max-new-tokens', '2', '--json', '--job-id', 'j'])
    expect(result).toMatchObject({ status: 0, stderr: '' })
    expect(jsonLines(result.stdout)).toMatchObject([
      { id: '0-1', event: 'queued' },
      { event: 'started', data: { seed: seedOf('j') } },
      { event: 'token' },
      { event: 'token' },
      { event: 'end' },
    ])
  })

  test('reads its prompt from stdin when it is -', async ({ stage }) => {
    const replica = await stage.serve()
    const result = await stage.cli(['generate', '-', '--max-new-tokens', '2'], { stdin: 'say [tag:piped]' })
    expect(result).toMatchObject({ status: 0, stderr: '' })
    expect(replica.seen.requests).toMatchObject([{ tag: 'piped', outcome: 'finished' }])
  })

  test('cancels its job on the Ctrl-C of npm, which comes twice, and frees the replica', async ({
    stage,
    expect: here,
  }) => {
    const client = await stage.client()
    const replica = await stage.serve({ tokensPerSecond: 50 })
    const generate = stage.start(['generate', 'hello', '--max-new-tokens', '1000', '--job-id', 'j'])
    await generate.printed(' ')
    generate.interruptTwice()
    const { status, signal, stderr } = await generate.over
    // A shell tells an end by SIGINT as 130, too.
    expect(signal === 'SIGINT' ? 130 : status).toBe(130)
    expect(stderr).toBe('\ntgi-pool: cancelled job j\n')
    expect(await client.job('j')).toMatchObject({ state: 'cancelled', error: { code: 'CANCELLED' } })
    await here
      .poll(() => replica.seen.requests)
      .toMatchObject([{ closedAtMs: expect.any(Number), outcome: 'aborted' }])
  })

  test('cancels a job that still waits, on SIGTERM as well', async ({ stage }) => {
    const client = await stage.client()
    const generate = stage.start(['generate', 'hello', '--job-id', 'j', '--json'])
    await generate.printed('queued')
    generate.kill('SIGTERM')
    expect(await generate.over).toMatchObject({ status: 130 })
    expect(await client.job('j')).toMatchObject({ state: 'cancelled', error: { code: 'CANCELLED' } })
    expect(await client.waiting()).toMatchObject({ interactive: 0, batch: 0 })
  })

  test('ends with 3 and says how when the job ends in error', async ({ stage }) => {
    await stage.serve({ clock: createManualClock(), tokensPerSecond: 50 })
    const flags = ['--max-new-tokens', '1000', '--deadline-ms', '2000', '--job-id', 'j']
    const plain = await stage.cli(['generate', 'hello', ...flags])
    expect(plain).toMatchObject({ status: 3 })
    expect(plain.stderr).toMatch(/^\ntgi-pool: job j ended in DECODE_TIMEOUT: [^\n]+\n$/)
    const json = await stage.cli(['generate', 'hello', ...flags, '--json'])
    expect(json).toMatchObject({ status: 3, stderr: '' })
    expect(jsonLines(json.stdout).at(-1)).toMatchObject({ event: 'error', data: { code: 'DECODE_TIMEOUT' } })
  })

  test('says after two seconds that there is no worker', async ({ stage }) => {
    await stage.client()
    const generate = stage.start(['generate', 'hello', '--job-id', 'j', '--max-new-tokens', '3'])
    await generate.printed('start a worker', 'stderr')
    expect(generate.stderr).toBe(
      `tgi-pool: job j is waiting: pool ${stage.pool} has no replicas; start a worker\n`,
    )
    await stage.serve()
    expect(await generate.over).toMatchObject({ status: 0, stdout: expect.stringMatching(/^.+\n$/) })
  })

  test('says after two seconds which replica is not ready, and why', async ({ stage }) => {
    await stage.client()
    const replica = await stage.replica({ faults: [{ kind: 'unhealthy' }] })
    const worker = await stage.worker(replica)
    const generate = stage.start(['generate', 'hello'])
    await generate.printed(' is waiting: ', 'stderr')
    expect(generate.stderr).toContain(`${worker.replicaId} is unhealthy (${replica.url} is not healthy)`)
    generate.kill('SIGINT')
    await generate.over
  })

  test('says after two seconds that the replicas are busy', async ({ stage }) => {
    await stage.client()
    const clock = createManualClock()
    const replica = await stage.replica({ clock, tokensPerSecond: 20 })
    await stage.worker(replica, 1)
    const first = stage.start(['generate', 'hello', '--max-new-tokens', '1000'])
    await expect.poll(() => replica.seen.open).toBe(1)
    const second = stage.start(['generate', 'hello', '--max-new-tokens', '3'])
    await second.printed('1 ready replicas are busy with other jobs', 'stderr')
    first.kill('SIGINT')
    await first.over
    clock.run()
    expect(await second.over).toMatchObject({ status: 0 })
  })

  test('refuses a prompt of 3 MB without printing it', async ({ stage }) => {
    const client = await stage.client()
    const result = await stage.cli(['generate', '-'], { stdin: 'qwerty'.repeat(500_000) })
    expect(result).toMatchObject({ status: 2, stdout: '' })
    expect(result.stderr).toMatch(/^tgi-pool: INVALID_PARAMS: job: inputs .*at most 1500000 .*got 3000000\n$/)
    expect(result.stderr).not.toContain('qwerty')
    expect(await client.waiting()).toMatchObject({ interactive: 0, batch: 0 })
  })

  test('cancels its job when whoever reads has gone, and that is no fault', async ({ stage }) => {
    const client = await stage.client()
    await stage.serve({ tokensPerSecond: 60 })
    const generate = stage.start(['generate', 'hello', '--max-new-tokens', '500', '--job-id', 'j'])
    await generate.printed(' ')
    generate.closeStdout()
    expect(await generate.over).toMatchObject({
      status: 0,
      signal: undefined,
      stderr: '\ntgi-pool: cancelled job j\n',
    })
    await expect(client.result('j')).rejects.toMatchObject({ kind: 'CANCELLED' })
  })

  test('shows on a terminal what it waits for, erases that, and ends with a summary', async ({ stage }) => {
    await stage.client()
    const clock = createManualClock()
    const replica = await stage.replica({ clock, prefillMs: 50, tokensPerSecond: 20 })
    const worker = await stage.worker(replica, 1)
    const first = stage.start(['generate', 'hello', '--max-new-tokens', '1000'])
    await expect.poll(() => replica.seen.open).toBe(1)
    const args = ['generate', 'hello', '--max-new-tokens', '3']
    const second = stage.start(args, { preload: AS_TERMINAL })
    await second.printed('1 of 1 ready replicas are busy with other jobs; next in the queue', 'stderr')
    first.kill('SIGINT')
    await first.over
    await second.printed(`running on ${worker.replicaId}, no token yet`, 'stderr')
    clock.run()
    const { status, stdout, stderr } = await second.over
    expect({ status, lines: stdout.trimEnd().split('\n').length }).toEqual({ status: 0, lines: 1 })
    const afterwards = stderr.split('\u001b[2K')
    expect(afterwards).toHaveLength(2)
    expect(afterwards[1]?.replace(worker.replicaId, 'REPLICA')).toMatch(
      /^tgi-pool: 3 tokens(?:, [0-9.]+ tokens\/s)?, queued [^,]+, time to first token [^,]+, replica REPLICA, 1 attempt\n$/,
    )
  })

  test('sends a chat with --system or --chat, and samples with --top-k', async ({ stage }) => {
    const client = await stage.client()
    await stage.serve()
    const short = ['--max-new-tokens', '2']
    const chat = await stage.cli([
      'generate',
      'hello',
      '--system',
      'Be brief.',
      ...short,
      '--job-id',
      'system',
    ])
    expect(chat).toMatchObject({ status: 0, stderr: '' })
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'hello' },
    ]
    const parameters = { max_new_tokens: 2 }
    expect(await client.enqueue({ messages, parameters }, { jobId: 'system' })).toMatchObject({
      existing: true,
    })
    await stage.cli(['generate', 'hello', '--chat', ...short, '--top-k', '5', '--job-id', 'chat'])
    const sampled = {
      messages: messages.slice(1),
      parameters: { ...parameters, top_k: 5, do_sample: true },
    }
    expect(await client.enqueue(sampled, { jobId: 'chat' })).toMatchObject({ existing: true })
  })

  test('takes its prompt after --stop TEXT', async ({ stage }) => {
    await stage.serve()
    const client = await stage.client()
    const flags = ['--stop', 'END', '--stop', 'FIN', '--job-id', 'j']
    expect(await stage.cli(['generate', '--max-new-tokens', '2', ...flags, 'hello'])).toMatchObject({
      status: 0,
    })
    const stop = { inputs: 'hello', parameters: { max_new_tokens: 2, stop: ['END', 'FIN'] } }
    expect(await client.enqueue(stop, { jobId: 'j' })).toMatchObject({ existing: true })
  })
})
