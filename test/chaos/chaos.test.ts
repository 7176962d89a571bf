import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { drawJob } from './job-mix.ts'
import { createRandom } from './random.ts'
import { drawSchedule } from './schedule.ts'

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))
const run = promisify(execFile)
const folder = await mkdtemp(join(tmpdir(), 'tgi-pool-chaos-test-'))
/** What runs leave to be read goes there. */
const ENV = { ...process.env, TMPDIR: folder }

afterAll(() => rm(folder, { recursive: true }))

/** How a run ended, whatever its exit status. */
async function chaos(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return run(process.execPath, [MAIN, ...args], { timeout: 110_000, env: ENV }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
}

/** Every process that a run has started, by its log. */
async function processesIn(log: string): Promise<number[]> {
  const lines = (await readFile(log, 'utf8')).split('\n').slice(0, -1)
  return lines.map((line) => JSON.parse(line) as { pid?: number }).flatMap(({ pid }) => pid ?? [])
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('the chaos program', () => {
  test('breaks whatever there is for some seconds, and finds that every invariant held', async () => {
    const outcome = await chaos('--minutes', '0.1', '--seed', '15', '--jobs', '50', '--workers', '3')

    // All of it: when it fails, the violations stand above the verdict.
    expect(outcome.stdout).toMatch(/\nchaos: OK seed=15 jobs=50 faults=\d\d lost=0 .*leaked_slots=0\n$/)
    expect(outcome.code).toBe(0)
    expect(outcome.stderr).toMatch(/log: .*chaos\.jsonl/)
  })

  test('leaves no process behind when it is interrupted', async () => {
    const log = join(folder, 'chaos.jsonl')
    const args = [MAIN, '--minutes', '5', '--log', log]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], env: ENV })
    onTestFinished(() => void child.kill('SIGKILL'))
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    // Nine processes start before that.
    await expect.poll(() => said, { timeout: 100_000 }).toMatch(/jobs over/)
    const exited = new Promise((resolve) => child.once('exit', resolve))

    child.kill('SIGINT')

    expect(await exited).toBe(130)
    const pids = await processesIn(log)
    // Redis, three simulators, four workers.
    expect(pids.length).toBeGreaterThanOrEqual(8)
    expect(pids.filter(isThere)).toEqual([])
    expect(said).toContain('nothing is left running')
  })

  test.each([
    [['--minutes', 'x'], '--minutes: expected a number from 0.01 to 1440, got "x"'],
    [['--workers', '1'], '--workers: expected a number from 2 to 32, got "1"'],
    [['--jobs', '1.5'], '--jobs: expected a whole number, got "1.5"'],
    [['--locks', 'none'], '--locks: expected short or real, got "none"'],
    [['--log', '/nowhere/at/all'], '--log: cannot be written: ENOENT'],
    [['--on-interrupt', 'panic'], '--on-interrupt: expected some of continue,replay,fail, got "panic"'],
    [['--nonsense'], "Unknown option '--nonsense'"],
  ])('says what is wrong with %j and exits 2', async (args, message) => {
    expect(await chaos(...args)).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining(message),
    })
  })
})

describe('a seed', () => {
  const options = { lastMs: 600_000, gapMs: 550, workers: 4, simulators: 3, lockMs: 1000, lossy: false }
  const draw = (seed: number) => drawSchedule(createRandom(seed, 'faults'), options)
  const mix = { onInterrupt: ['continue', 'replay', 'fail'] as const, long: true }

  test('draws the same faults and jobs again, another one others', () => {
    expect(draw(3)).toEqual(draw(3))
    expect(draw(3)).not.toEqual(draw(4))
    expect(drawJob(createRandom(3, 'job', 9), 9, mix)).toEqual(drawJob(createRandom(3, 'job', 9), 9, mix))
    expect(drawJob(createRandom(3, 'job', 9), 9, mix)).not.toEqual(drawJob(createRandom(3, 'job', 8), 9, mix))
  })

  test('draws a Redis that loses something only where it may', () => {
    const lossy = drawSchedule(createRandom(1, 'faults'), { ...options, lossy: true })
    expect(draw(1).map(({ kind }) => kind)).not.toContain('redis-lose')
    expect(lossy.map(({ kind }) => kind)).toContain('redis-lose')
  })

  test('draws a thousand faults in ten minutes, of every kind, in order', () => {
    const faults = draw(1)
    expect(faults.length).toBeGreaterThan(1000)
    expect(new Set(faults.map(({ kind }) => kind)).size).toBe(14)
    expect(new Set(faults.map(({ body }) => body?.['kind'])).size).toBe(17)
    expect(new Set(faults.map(({ refusal }) => refusal)).size).toBe(4)
    expect(faults.map(({ atMs }) => atMs)).toEqual(faults.map(({ atMs }) => atMs).toSorted((a, b) => a - b))
  })
})
