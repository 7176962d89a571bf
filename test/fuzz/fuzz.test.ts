import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { createRandom } from '../chaos/random.ts'
import { GENERATORS } from './generators.ts'
import { startMeasuredProcess } from './measured-process.ts'
import { MARK } from './shot.ts'

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))
const run = promisify(execFile)
const folder = await mkdtemp(join(tmpdir(), 'tgi-pool-fuzz-test-'))
const ENV = { ...process.env, TMPDIR: folder }

afterAll(() => rm(folder, { recursive: true }))

/** How a run ended, whatever its exit status. */
async function fuzz(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return run(process.execPath, [MAIN, ...args], { timeout: 110_000, env: ENV }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
}

describe('the fuzz program', () => {
  test('sends requests and jobs, and finds that all held', async () => {
    const outcome = await fuzz(
      '--seconds',
      '3',
      '--seed',
      '4',
      '--only',
      'http-routes,job-ids',
      '--shot',
      '1',
    )

    expect(outcome.stdout).toMatch(/\nfuzz: OK seed=4 shots=\d+ series=\d+ good_jobs=\d+ violations=0\n$/)
    expect(outcome.code).toBe(0)
  })

  test('leaves no process behind when it is interrupted', async () => {
    const child = spawn(process.execPath, [MAIN, '--seconds', '600', '--only', 'http-routes'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: ENV,
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    await expect.poll(() => said, { timeout: 100_000 }).toMatch(/round 0/)
    const exited = new Promise((resolve) => child.once('exit', resolve))

    child.kill('SIGINT')

    expect(await exited).toBe(130)
    const pid = String(child.pid)
    const { stdout } = await run('ps', ['-eo', 'ppid='])
    expect(stdout.split('\n').map((line) => line.trim())).not.toContain(pid)
  })

  test('lists its generators', async () => {
    const { code, stdout } = await fuzz('--help')
    expect(code).toBe(0)
    for (const name of Object.keys(GENERATORS)) expect(stdout).toContain(name)
  })

  test.each([
    [['--seconds', 'x'], '--seconds: expected a whole number from 1 to 86400, got "x"'],
    [['--seed=-1'], '--seed: expected a whole number from 0 to 4294967296, got "-1"'],
    [['--only', 'http-routes,nonsense'], '--only: expected parts of the names of generators'],
    [['--only', ''], '--only: expected parts of the names of generators'],
    [['--shot', '1.5'], '--shot: expected a whole number'],
    [['--nonsense'], "Unknown option '--nonsense'"],
  ])('says what is wrong with %j and exits 2', async (args, message) => {
    expect(await fuzz(...args)).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining(message),
    })
  })
})

/** Without times, which are those of the clock. */
const plain = (shots: readonly object[]) => JSON.stringify(shots).replaceAll(/\d{13}/g, 'now')

describe('a seed', () => {
  test.each(Object.entries(GENERATORS))('draws the same %s again, another one others', (name, generator) => {
    const draw = (seed: number) =>
      Array.from({ length: 3 }, (_, shot) =>
        generator.draw(createRandom(seed, name, shot), {
          limitBytes: 10_000,
          bytes: 10_000,
          bearer: 'b',
          knownId: 'known',
          newId: () => 'new',
        }),
      )
    expect(plain(draw(3))).toBe(plain(draw(3)))
    expect(plain(draw(3))).not.toBe(plain(draw(4)))
  })
})

const start = async (source: string) => {
  const script = join(folder, `script-${Math.random()}.mjs`)
  await writeFile(script, source)
  const measured = await startMeasuredProcess({
    name: 'script',
    script,
    args: [],
    env: {},
    nodeFlags: ['--max-old-space-size=64'],
    limitBytes: 2 ** 30,
    ready: /(ready)/,
    logPath: join(folder, 'script.log'),
  })
  onTestFinished(() => measured.end())
  return measured
}

describe('a measured process', () => {
  const WORK = `const work = () => { for (const until = process.cpuUsage().user + 300_000; process.cpuUsage().user < until;); }`

  test('reports its longest block once, and its memory', async () => {
    const measured = await start(`${WORK}
      let held
      process.on('SIGUSR2', () => { work(); held = Buffer.alloc(100 * 2 ** 20, 1); console.log('done') })
      console.log('ready'); setInterval(() => held, 1e6)`)
    await measured.measure()
    measured.takePeak()
    process.kill(measured.pid, 'SIGUSR2')
    await expect.poll(() => readFile(join(folder, 'script.log'), 'utf8')).toContain('done')

    expect((await measured.measure())?.blockMs).toBeGreaterThan(200)
    expect(measured.takePeak()).toBeGreaterThan(100 * 2 ** 20)
    expect((await measured.measure(true))?.blockMs).toBeLessThan(200)
    expect((await measured.measure())?.heldBytes).toBeGreaterThan(100 * 2 ** 20)
  })

  test('is found out when it logs a prompt, and when it dies', async () => {
    const measured = await start(`setInterval(() => undefined, 1e6)
      process.on('SIGUSR2', () => { console.error('prompt: ${MARK}'); const all = []; for (;;) all.push([all]) })
      console.log('ready')`)
    expect(measured.takeLeaks()).toEqual([])
    process.kill(measured.pid, 'SIGUSR2')
    await expect.poll(() => measured.death).toMatch(/heap out of memory/)

    expect(measured.takeLeaks()).toEqual([`prompt: ${MARK}`])
    expect(await measured.measure()).toBeUndefined()
  })
})
