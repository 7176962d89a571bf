import { describe, expect } from 'vitest'
import { SEAL_ID } from '../../src/contract/stream-id.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'

interface Line {
  readonly id: string
  readonly event: string
  readonly data: Record<string, unknown>
}

function linesOf(stdout: string): Line[] {
  return jsonLines(stdout) as Line[]
}

describe.concurrent('events', () => {
  test('are one JSON line each of exactly id, event and data, to the end', async ({ stage }) => {
    await stage.serve()
    await stage.cli(['enqueue', 'hello', '--job-id', 'j', '--max-new-tokens', '6'])
    const { stdout, ...rest } = await stage.cli(['events', 'j', '--json'])
    expect(rest).toEqual({ status: 0, signal: undefined, stderr: '' })
    const lines = linesOf(stdout)
    for (const line of lines) expect(Object.keys(line)).toEqual(['id', 'event', 'data'])
    expect(lines.map(({ event }) => event)).toEqual([
      'queued',
      'started',
      ...Array<string>(6).fill('token'),
      'end',
    ])
    expect(lines.at(-1)?.id).toBe(SEAL_ID)
  })

  test('are one line also to readers that end one at U+2028', async ({ stage }) => {
    await stage.client()
    await stage.cli(['enqueue', 'hello', '--job-id', 'j'])
    await stage.cli(['cancel', 'j', '--reason', 'a\u2028b\u2029c'])
    for (const args of [
      ['events', 'j', '--json'],
      ['events', 'j'],
      ['job', 'j', '--json'],
    ]) {
      const { stdout } = await stage.cli(args)
      expect(stdout).toContain('a\\u2028b\\u2029c')
      expect(stdout).not.toMatch(/[\u0085\u2028\u2029]/)
    }
  })

  test('after any id are what follows it', async ({ stage }) => {
    await stage.serve()
    await stage.cli(['enqueue', 'hello', '--job-id', 'j', '--max-new-tokens', '3'])
    const whole = (await stage.cli(['events', 'j', '--json'])).stdout
    const lines = whole.split('\n').slice(0, -1)
    const suffixes = await Promise.all(
      linesOf(whole).map(({ id }) => stage.cli(['events', 'j', '--json', '--after', id])),
    )
    expect(suffixes).toEqual(
      lines.map((_, index) => ({
        status: 0,
        signal: undefined,
        stderr: '',
        stdout: lines
          .slice(index + 1)
          .map((line) => `${line}\n`)
          .join(''),
      })),
    )
  })

  test('for people are one line each with the text of its token', async ({ stage }) => {
    await stage.serve()
    await stage.cli(['enqueue', 'hello', '--job-id', 'j', '--max-new-tokens', '3'])
    const { status, stdout } = await stage.cli(['events', 'j'])
    expect(status).toBe(0)
    const rows = stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => line.split('\t'))
    expect(rows.map(([, event]) => event)).toEqual(['queued', 'started', 'token', 'token', 'token', 'end'])
    const text = rows
      .filter(([, event]) => event === 'token')
      .map((row) => JSON.parse(row[2] ?? '') as string)
    expect(JSON.parse(rows.at(-1)?.[2] ?? '')).toMatchObject({ text: text.join('') })
  })

  test('are followed live, also of a job that waits', async ({ stage }) => {
    await stage.client()
    await stage.cli(['enqueue', 'hello', '--job-id', 'j', '--max-new-tokens', '3'])
    const events = stage.start(['events', 'j', '--json'])
    await events.printed('"queued"')
    expect(linesOf(events.stdout)).toHaveLength(1)
    await stage.serve()
    expect(await events.over).toMatchObject({ status: 0, stdout: expect.stringContaining('"end"') })
  })

  test('end with 3 when the job ended in error', async ({ stage }) => {
    await stage.client()
    await stage.cli(['enqueue', 'hello', '--job-id', 'j'])
    await stage.cli(['cancel', 'j', '--reason', 'enough'])
    const result = await stage.cli(['events', 'j', '--json'])
    expect(result).toMatchObject({ status: 3, stderr: '' })
    expect(linesOf(result.stdout).at(-1)).toMatchObject({ event: 'error', data: { code: 'CANCELLED' } })
  })

  test('of an unknown job are one clear error, exit 1', async ({ stage }) => {
    await stage.client()
    const [plain, json] = await Promise.all([
      stage.cli(['events', 'nobody']),
      stage.cli(['events', 'nobody', '--json']),
    ])
    expect(plain).toMatchObject({ status: 1, stdout: '' })
    expect(plain.stderr).toBe(
      `tgi-pool: UNKNOWN_JOB: no job nobody in pool ${stage.pool}, or its events have expired\n`,
    )
    expect(json).toMatchObject({ status: 1, stdout: '' })
    expect(jsonLines(json.stderr)).toMatchObject([{ error: { code: 'UNKNOWN_JOB', retriable: false } }])
  })

  test('of an unknown pool say that it is the pool', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['events', 'j', '--pool', 'misspelt'])
    expect(result).toMatchObject({ status: 1, stderr: expect.stringContaining('no pool "misspelt"') })
  })

  test('after something that is no id are bad usage', async ({ stage }) => {
    await stage.client()
    await stage.cli(['enqueue', 'hello', '--job-id', 'j'])
    const cursors = ['banana', '', '1-1-1', '99999999999999999999-1']
    for (const result of await Promise.all(
      cursors.map((after) => stage.cli(['events', 'j', '--after', after])),
    )) {
      expect(result).toMatchObject({ status: 2, stdout: '' })
      expect(result.stderr).toMatch(/^tgi-pool: INVALID_PARAMS: cursor: expected .*, got /)
    }
  })

  test('are left by Ctrl-C with 130, and the job goes on', async ({ stage, expect: here }) => {
    const client = await stage.client()
    const clock = createManualClock()
    await stage.serve({ clock, tokensPerSecond: 50 })
    await stage.cli(['enqueue', 'hello', '--job-id', 'j', '--max-new-tokens', '1000'])
    const events = stage.start(['events', 'j', '--json'])
    await events.printed('"token"')
    events.interruptTwice()
    const { status, signal, stderr } = await events.over
    // A shell tells an end by SIGINT as 130, too.
    expect(signal === 'SIGINT' ? 130 : status).toBe(130)
    expect(stderr).toBe('')
    const tokens = async () => (await client.job('j')).tokens_out
    const before = await tokens()
    clock.advance(20)
    await here.poll(tokens).toBeGreaterThan(before)
    await client.cancel('j')
  })

  test('stop without a word when whoever reads has gone', async ({ stage }) => {
    const clock = createManualClock()
    await stage.serve({ clock, tokensPerSecond: 60 })
    await stage.cli(['enqueue', 'hello', '--job-id', 'j', '--max-new-tokens', '900'])
    const events = stage.start(['events', 'j'])
    await events.printed('queued')
    events.closeStdout()
    clock.run()
    expect(await events.over).toMatchObject({ status: 0, signal: undefined, stderr: '' })
  })
})
