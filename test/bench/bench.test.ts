import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { documentSchema } from './document.ts'

const MAIN = new URL('../../bench/main.ts', import.meta.url).pathname
const run = promisify(execFile)

describe('the benches', () => {
  test('print one JSON document with the questions asked for, and end by themselves', async () => {
    // All of them, and their page, are run by test/ops/bench-report.test.ts.
    const names = ['throughput', 'latency', 'pick-up', 'cancel']
    const args = [MAIN, ...names, '--quick', '--json']
    const { stdout, stderr } = await run(process.execPath, args, { timeout: 110_000 })

    const { benches } = documentSchema.parse(JSON.parse(stdout))
    expect(benches.map(({ name }) => name)).toEqual(names)
    expect(stderr).toBe('')
  })

  test('name what they do not know and exit 2', async () => {
    const outcome = await run(process.execPath, [MAIN, 'nonsense']).catch((error: unknown) => error)

    expect(outcome).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('no bench "nonsense"'),
    })
  })
})
