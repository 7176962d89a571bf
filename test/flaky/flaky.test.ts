import { execFile, spawn, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'

const SCRIPT = new URL('../../scripts/flaky.ts', import.meta.url).pathname
const CONFIG = new URL('sample.config.ts', import.meta.url).pathname

async function flaky(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const options = { env: { ...process.env, ...env }, timeout: 110_000 }
  return promisify(execFile)(process.execPath, [SCRIPT, ...args], options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({
      code,
      stdout,
      stderr,
    }),
  )
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'tgi-pool-flaky-test-'))
  onTestFinished(() => rm(path, { recursive: true }))
  return path
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('a test that fails in the second run of two is named, with the run and the first line', async () => {
  const env = { SAMPLE_FOLDER: await folder(), SAMPLE: 'second' }
  const { code, stdout } = await flaky(['--runs', '2', '--busy', '--config', CONFIG], env)
  const [, logs = ''] = /logs of the runs are in (\S+)/.exec(stdout) ?? []
  onTestFinished(() => rm(logs, { recursive: true }))
  expect(stdout.replaceAll(/\d+ s$/gm, 'N s')).toBe(
    `run 1 of 2: passed in N s
run 2 of 2: 1 failed in N s
  test/flaky/sample.ts > a sample passes once

1 of 2 runs passed

test/flaky/sample.ts > a sample passes once
  run 2: Error: this was run 2

The logs of the runs are in ${logs}
`,
  )
  expect(code).toBe(1)
})

test('runs that all pass exit 0, and what fails outside of a test is a failure', async () => {
  const env = { SAMPLE_FOLDER: await folder() }
  const passed = await flaky(['--runs', '1', '--config', CONFIG], { ...env, SAMPLE: 'pass' })
  expect(passed).toMatchObject({ code: 0, stdout: expect.stringContaining('1 of 1 runs passed') })
  const broken = await flaky(['--runs', '1', '--config', CONFIG], { ...env, SAMPLE: 'import' })
  expect(broken).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('test/flaky/sample.ts\n  run 1: this file cannot be imported\n'),
  })
})

test.for(['SIGINT', 'SIGTERM'] as const)('%s leaves no process behind', async (signal) => {
  const path = await folder()
  const env = { ...process.env, SAMPLE_FOLDER: path, SAMPLE: 'hang' }
  const child = spawn(process.execPath, [SCRIPT, '--busy', '--config', CONFIG], { env, stdio: 'ignore' })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const pids = async (): Promise<number[]> =>
    JSON.parse(await readFile(join(path, 'pids'), 'utf8').catch(() => '[]'))
  await expect.poll(async () => (await pids()).length, { timeout: 100_000 }).toBe(3)
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
  const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/).map(Number))
  const own = rows.filter(([, parent]) => parent === child.pid).map(([pid = 0]) => pid)
  // Two busy loops and vitest; what the test itself is in, and what it has started.
  expect(own).toHaveLength(3)
  const started = [...own, ...(await pids())]
  expect(started.every(isAlive)).toBe(true)
  child.kill(signal)
  expect(await exited).toBe(signal === 'SIGINT' ? 130 : 143)
  await expect.poll(() => started.filter(isAlive)).toEqual([])
})

test.for([
  [['--runs', '0'], '--runs must be a whole number from 1 to 9999, got "0"'],
  [['--runs', 'many'], '--runs must be a whole number from 1 to 9999, got "many"'],
  [['--busty'], "Unknown option '--busty'"],
] as const)('%j is refused with the reason and the usage', async ([args, reason]) => {
  const { code, stdout, stderr } = await flaky(args)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain(reason)
  expect(stderr).toContain('Usage: npm run flaky')
})

test('--help prints the usage', async () => {
  const { code, stdout } = await flaky(['--help'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^Usage: npm run flaky[\s\S]*--busy/)
})
