import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'

const MAIN = new URL('../../bench/main.ts', import.meta.url).pathname
const run = promisify(execFile)

const measured = z.record(z.string(), z.number().positive())
// Counts of faults and of races that ended early may well be none.
const counted = z.record(z.string().startsWith('races'), z.number().nonnegative())
const documentSchema = z.strictObject({
  machine: z.strictObject({
    cpu: z.string().min(1),
    cores: z.number().int().positive(),
    memory_gib: z.number().positive(),
    node: z.string().startsWith('v'),
    redis: z.string().includes('append-only file off'),
    load_before: z.number().nonnegative(),
  }),
  benches: z.array(
    z.strictObject({
      name: z.string(),
      question: z.string().endsWith('?'),
      figures: z.record(z.string(), z.number()),
      baseline: measured,
      ratios: measured,
      bars: z
        .array(
          z.strictObject({
            what: z.string().min(1),
            bar: z.string().regex(/^[<>]= [\d.]+$/),
            got: z.number().nonnegative(),
            met: z.boolean(),
          }),
        )
        .min(2),
    }),
  ),
})

describe('the benches', () => {
  test('print one JSON document with every question answered, and end by themselves', async () => {
    const { stdout, stderr } = await run(process.execPath, [MAIN, '--quick', '--json'], { timeout: 25_000 })

    const { benches } = documentSchema.parse(JSON.parse(stdout))
    expect(benches.map(({ name }) => name)).toEqual(['throughput', 'latency', 'pick-up', 'cancel', 'memory'])
    for (const { figures } of benches) {
      const [races, others] = split(figures, (name) => name.startsWith('races'))
      expect(counted.safeParse(races).error).toBeUndefined()
      expect(measured.safeParse(others).error).toBeUndefined()
    }
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

function split(figures: Record<string, number>, isFirst: (name: string) => boolean) {
  const entries = Object.entries(figures)
  return [
    Object.fromEntries(entries.filter(([name]) => isFirst(name))),
    Object.fromEntries(entries.filter(([name]) => !isFirst(name))),
  ] as const
}
