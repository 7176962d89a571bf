import { describe, expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'

const PERSON = new URL('stdin-as-terminal.ts', import.meta.url)
const LONG = { inputs: 'hello', parameters: { max_new_tokens: 1000 } }

/** Jobs `i-…` are interactive, `b-…` batch. */
async function enqueueAll(client: PoolClient, ids: readonly string[]): Promise<void> {
  for (const jobId of ids)
    await client.enqueue({ ...LONG, priority: jobId.startsWith('b') ? 'batch' : 'interactive' }, { jobId })
}

async function stateOf(client: PoolClient, ids: readonly string[]): Promise<string[]> {
  return Promise.all(ids.map(async (id) => (await client.job(id)).state))
}

describe.concurrent('cancel of several jobs', () => {
  test('takes ids or a file, prints a line each in that order, and exits with 1 for unknown ones', async ({
    stage,
  }) => {
    const client = await stage.client()
    await enqueueAll(client, ['i-1', 'i-2', 'b-1', 'b-2'])
    await client.cancel('i-2')
    const three = await stage.cli(['cancel', 'i-1', 'i-2', 'nobody', '--reason', 'enough'])
    expect(three).toEqual({
      status: 1,
      signal: undefined,
      stdout:
        'job i-1 cancelled\njob i-2 had already ended\njob nobody is unknown, or its events have expired\n',
      stderr: 'tgi-pool: 1 cancelled, 1 had already ended, 1 unknown\n',
    })
    expect((await client.job('i-1')).error).toMatchObject({ message: 'enough' })
    const file = await stage.cli(['cancel', '--file', '-', '--json'], { stdin: '{"job_id":"b-2"}\nb-1\n' })
    expect(file.status).toBe(0)
    expect(jsonLines(file.stdout)).toEqual(['b-2', 'b-1'].map((job_id) => ({ job_id, outcome: 'cancelled' })))
    expect(jsonLines(file.stderr)).toEqual([
      { summary: { cancelled: 2, already_over: 0, already_started: 0, unknown: 0 } },
    ])
  })

  test('refuses what says nothing, or two things', async ({ stage }) => {
    const client = await stage.client()
    await enqueueAll(client, ['i-1'])
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [[], /expected job ids, --file or a filter .* got none; --all cancels every job/],
      [['--yes'], /expected job ids, --file or a filter/],
      [['i-1', '--state', 'queued'], /expected job ids or a filter, got ids and --state/],
      [['i-1', '--dry-run'], /got ids and --dry-run/],
      [['--file', '-', '--all', '--yes'], /got ids and --all, --yes/],
      [['--all', '--priority', 'batch'], /expected --all or a filter, got --all and --priority/],
      [['--state', 'ended'], /--state .*'ended'.*queued, started/],
      [['--older-than', '1'], /--older-than .*such as 90s/],
      [['i-1', 'a b'], /job id: expected .*got "a b"/],
    ]
    const results = await Promise.all(cases.map(([args]) => stage.cli(['cancel', ...args])))
    for (const [index, [args, message]] of cases.entries()) {
      expect(results[index]?.stderr, args.join(' ')).toMatch(message)
      expect(results[index], args.join(' ')).toMatchObject({ status: 2, stdout: '' })
    }
    expect(await stateOf(client, ['i-1'])).toEqual(['queued'])
  })
})

describe.concurrent('cancel by filter', () => {
  test('needs --yes where nobody can be asked, and cancels what matches', async ({ stage, expect: here }) => {
    const client = await stage.client()
    const replica = await stage.replica({ clock: createManualClock(), tokensPerSecond: 50 })
    await stage.worker(replica, 1)
    await enqueueAll(client, ['i-1'])
    await here.poll(() => client.job('i-1')).toMatchObject({ state: 'started' })
    await enqueueAll(client, ['i-2', 'b-1', 'b-2', 'b-3'])
    await client.cancel('b-3')
    const all = ['i-1', 'i-2', 'b-1', 'b-2', 'b-3']
    const before = ['started', 'queued', 'queued', 'queued', 'cancelled']

    const [refused, dry, none, young] = await Promise.all([
      stage.cli(['cancel', '--priority', 'batch']),
      stage.cli(['cancel', '--state', 'queued', '--dry-run', '--json']),
      stage.cli(['cancel', '--state', 'started', '--priority', 'batch', '--yes']),
      stage.cli(['cancel', '--older-than', '1d', '--yes']),
    ])
    expect(refused).toMatchObject({
      status: 2,
      stdout: '',
      stderr: `tgi-pool: INVALID_PARAMS: this would cancel 2 jobs of pool ${stage.pool}; confirm with --yes, or list them with --dry-run\n`,
    })
    expect(dry.status).toBe(0)
    expect(jsonLines(dry.stdout)).toEqual(
      ['b-2', 'b-1', 'i-2'].map((job_id) =>
        expect.objectContaining({ job_id, state: 'queued', outcome: 'would_cancel' }),
      ),
    )
    expect(jsonLines(dry.stderr)).toEqual([{ summary: { matched: 3 } }])
    for (const result of [none, young])
      expect(result).toMatchObject({ status: 0, stdout: '', stderr: 'tgi-pool: no jobs match\n' })
    expect(await stateOf(client, all)).toEqual(before)

    const batch = await stage.cli(['cancel', '--state', 'queued', '--priority', 'batch', '--yes'])
    expect(batch).toMatchObject({
      status: 0,
      stdout: 'job b-2 cancelled\njob b-1 cancelled\n',
      stderr: 'tgi-pool: 2 cancelled\n',
    })
    expect(await stateOf(client, all)).toEqual(['started', 'queued', 'cancelled', 'cancelled', 'cancelled'])
    const rest = await stage.cli(['cancel', '--all', '--yes'])
    expect(rest).toMatchObject({ status: 0, stderr: 'tgi-pool: 2 cancelled\n' })
    await here.poll(() => replica.seen.open).toBe(0)
    expect(new Set(await stateOf(client, all))).toEqual(new Set(['cancelled']))
  })

  test('says on a terminal how many match, and asks', async ({ stage }) => {
    const client = await stage.client()
    await enqueueAll(client, ['b-1', 'b-2', 'i-1'])
    const args = ['cancel', '--priority', 'batch']
    const question = `Cancel 2 jobs of pool ${stage.pool}? (y/N)`
    const nos = await Promise.all(
      ['\n', 'n\n', '', 'yep\n'].map((stdin) => stage.cli(args, { preload: PERSON, stdin })),
    )
    for (const { status, stdout, stderr } of nos) {
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
      expect(stderr).toBe(`${question} tgi-pool: nothing was cancelled\n`)
    }
    expect(await stateOf(client, ['b-1', 'b-2'])).toEqual(['queued', 'queued'])
    const yes = await stage.cli(args, { preload: PERSON, stdin: 'y\n' })
    expect(yes).toMatchObject({
      status: 0,
      stdout: 'job b-2 cancelled\njob b-1 cancelled\n',
      stderr: `${question} tgi-pool: 2 cancelled\n`,
    })
    expect(await stateOf(client, ['b-1', 'b-2', 'i-1'])).toEqual(['cancelled', 'cancelled', 'queued'])
  })

  test('leaves alone what started, and counts what ended, while it asked', async ({
    stage,
    expect: here,
  }) => {
    const client = await stage.client()
    await enqueueAll(client, ['i-1', 'i-2', 'i-3'])
    // The end of its input is not reached before the test is done.
    const asking = stage.start(['cancel', '--state', 'queued'], { preload: PERSON, keepStdin: true })
    await asking.printed('(y/N)', 'stderr')
    await client.cancel('i-2')
    const replica = await stage.replica({ clock: createManualClock(), tokensPerSecond: 50 })
    await stage.worker(replica, 1)
    await here.poll(() => client.job('i-1')).toMatchObject({ state: 'started' })
    asking.type('y\n')
    const { status, stdout, stderr } = await asking.over
    expect(status).toBe(0)
    expect(stdout).toBe(
      'job i-3 cancelled\njob i-2 had already ended\njob i-1 has started and keeps running\n',
    )
    expect(stderr).toContain('tgi-pool: 1 cancelled, 1 had already ended, 1 had started\n')
    expect(replica.seen.open).toBe(1)
  })

  test('is left by Ctrl-C while it asks, and nothing is cancelled', async ({ stage }) => {
    const client = await stage.client()
    await enqueueAll(client, ['i-1'])
    const asking = stage.start(['cancel', '--all'], { preload: PERSON, keepStdin: true })
    await asking.printed('(y/N)', 'stderr')
    asking.interruptTwice()
    expect(await asking.over).toMatchObject({ status: 130, stdout: '' })
    expect(await stateOf(client, ['i-1'])).toEqual(['queued'])
  })
})
