/** Model text and whatever else others wrote, on a terminal and in pipes. */
import { execFile, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect } from 'vitest'
import { createLab } from '../support/lab.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import { test } from './stage.ts'
import type { Stage } from './stage.ts'

const STDERR = new URL('as-terminal.ts', import.meta.url)
const STDOUT = new URL('stdout-as-terminal.ts', import.meta.url)
const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** What a terminal obeys, or cannot show, but newline and tab. */
const UNFIT = /(?![\n\t])[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u
const OSC_52 = '\u001b]52;c;aGk=\u0007'
const SHOWN = String.raw`\u001b]52;c;aGk=\u0007`
const HOSTILE = `no\n${OSC_52}\u009b31m\u202e`

// oxlint-disable-next-line no-control-regex -- it is what a terminal is sent
const CURSOR = /\u001b\[(?:\?\d+[hl]|\d*[GK])/g

const hasPython = spawnSync('python3', ['-c', 'import pty']).status === 0
const PTY = 'import os,pty,sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))'

/** Runs a command on a real terminal; both of its streams in one. */
async function onTerminal(stage: Stage, args: readonly string[]): Promise<string> {
  const env = { PATH: process.env['PATH'], REDIS_URL: stage.redisUrl, TGI_POOL: stage.pool, TERM: 'xterm' }
  const all = ['-c', PTY, process.execPath, MAIN, ...args]
  // The terminal itself puts the carriage returns in.
  const { stdout } = await promisify(execFile)('python3', all, { env, timeout: 60_000 })
  // A command that waits long moves the cursor of its own.
  return stdout.replaceAll('\r\n', '\n').replaceAll(CURSOR, '')
}

describe('text of a model', () => {
  test('is raw in a pipe, whatever stderr is', async ({ stage }) => {
    await stage.serve({ faults: [{ kind: 'escapes' }] })
    const args = ['generate', 'hello', '--max-new-tokens', '11']
    const { stdout } = await stage.cli(args)
    expect(stdout).toBe(`${OSC_52}\u009b31m\u202e\u2066\b\u007fx\r\u001b[2J\n`)
    expect((await stage.cli(args, { preload: STDERR })).stdout).toBe(stdout)
  })

  test('is shown and not obeyed on a terminal, in pieces or whole, as JSON or not', async ({ stage }) => {
    await stage.serve({ faults: [{ kind: 'escapes' }] })
    const args = ['generate', 'hello', '--max-new-tokens', '11', '--job-id', 'j']
    const { stdout } = await stage.cli(args, { preload: STDOUT })
    expect(stdout).toBe(`${SHOWN}${String.raw`\u009b31m\u202e\u2066\b\u007fx\r\u001b[2J`}\n`)
    const lines = (await stage.cli(['events', 'j', '--json'], { preload: STDOUT })).stdout
      .trimEnd()
      .split('\n')
    const raw = (await stage.cli(['events', 'j', '--json'])).stdout.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      raw.map((line) => JSON.parse(line) as unknown),
    )
  })

  test.skipIf(!hasPython)('is shown and not obeyed on a real terminal', async ({ stage }) => {
    await stage.serve({ faults: [{ kind: 'escapes' }] })
    const seen = await onTerminal(stage, ['generate', 'hello', '--max-new-tokens', '30'])
    expect(seen).toContain(SHOWN)
    expect(seen).not.toMatch(UNFIT)
  })
})

describe('what others wrote', () => {
  test('of a job is raw or not by the stream that it goes to', async ({ stage }) => {
    const pool = await stage.client()
    await stage.cli(['enqueue', 'hello', '--job-id', 'j'])
    // Of control characters and marks of direction a reason is cleaned before it is written.
    await pool.cancel('j', { reason: 'no\u2028way' })
    const again = ['generate', 'hello', '--job-id', 'j']
    const [piped, onStderr, onStdout, job] = await Promise.all([
      stage.cli(again),
      stage.cli(again, { preload: STDERR }),
      stage.cli(again, { preload: STDOUT }),
      stage.cli(['job', 'j'], { preload: STDOUT }),
    ])
    expect(piped.stderr).toContain('no\u2028way')
    expect(onStdout.stderr).toBe(piped.stderr)
    expect(onStderr.stderr).toBe(piped.stderr.replace('\u2028', String.raw`\u2028`))
    expect(job.stdout).toMatch(/^ended with +CANCELLED: .*no\\u2028way$/m)
  })

  test('of a replica stays in its row', async ({ stage }) => {
    await stage.serve()
    const lab = await createLab(stage.redisUrl)
    stage.afterwards(() => lab.close())
    const keys = poolKeys(stage.pool)
    const [[field, text] = ['', '{}']] = Object.entries(await lab.redis.hgetall(keys.replicas))
    const entry = {
      ...(JSON.parse(text) as object),
      replica_id: 'other',
      reason: HOSTILE,
      url: `http://${OSC_52}`,
    }
    await lab.redis.hset(keys.replicas, 'other', JSON.stringify(entry))
    expect(field).not.toBe('')
    for (const verb of [['replicas'], ['doctor', '--json']]) {
      const { stdout } = await stage.cli(verb, { preload: STDOUT })
      expect(stdout, verb.join(' ')).not.toMatch(UNFIT)
      if (verb.length === 1 && verb[0] === 'replicas') expect(stdout.trimEnd().split('\n')).toHaveLength(3)
    }
  })
})
