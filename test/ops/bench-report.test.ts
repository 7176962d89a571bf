import { execFile } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { documentSchema } from '../bench/document.ts'

const REPORT = new URL('../../bench/report.ts', import.meta.url).pathname
const run = promisify(execFile)

const NAMES = [
  'throughput',
  'latency',
  'pick-up',
  'cancel',
  'handover',
  'memory',
  'depth',
  'job-list',
  'poison',
  'rivals-throughput',
  'rivals-latency',
  'rivals-reconnect',
  'rivals-memory',
  'rivals-death',
  'first-byte',
  'subscribers',
]

test('the report answers every question on one page, which can be made again from its results', async () => {
  const [first, again] = await Promise.all([1, 2].map(() => mkdtemp(join(tmpdir(), 'tgi-pool-bench-'))))
  try {
    const { stderr } = await run(process.execPath, [REPORT, '--quick', '--into', first ?? ''])
    expect(stderr).toBe('')

    const results = join(first ?? '', 'results.json')
    const { benches } = documentSchema.parse(JSON.parse(await readFile(results, 'utf8')))
    expect(benches.map(({ name }) => name)).toEqual(NAMES)

    let page = await readFile(join(first ?? '', 'README.md'), 'utf8')
    for (const { name, question } of benches) expect(page).toContain(`## ${name}\n\n**${question}**`)
    const plots = await readdir(join(first ?? '', 'plots'))
    for (const [, plot] of page.matchAll(/\(plots\/(\S+)\)/g)) expect(plots).toContain(plot)
    expect(page).not.toMatch(/NaN|undefined|Infinity/)

    // Some of it again leaves the others as they are.
    await run(process.execPath, [REPORT, '--quick', '--only', 'pick-up', '--into', first ?? ''])
    const later = documentSchema.parse(JSON.parse(await readFile(results, 'utf8')))
    expect(later.benches.map(({ name }) => name)).toEqual(NAMES)
    expect(later.benches.flatMap((bench) => (bench.again_on === undefined ? [] : bench.name))).toEqual([
      'pick-up',
    ])
    expect(later.benches.filter(({ name }) => name !== 'pick-up')).toEqual(
      benches.filter(({ name }) => name !== 'pick-up'),
    )
    page = await readFile(join(first ?? '', 'README.md'), 'utf8')

    await run(process.execPath, [REPORT, '--from', results, '--into', again ?? ''])
    expect(await readFile(join(again ?? '', 'README.md'), 'utf8')).toBe(page)
    for (const plot of plots) {
      const [before, after] = await Promise.all(
        [first, again].map((dir) => readFile(join(dir ?? '', 'plots', plot), 'utf8')),
      )
      expect(after).toBe(before)
      expect(after).not.toMatch(/NaN|undefined|Infinity/)
    }
  } finally {
    for (const dir of [first, again]) await rm(dir ?? '', { recursive: true, force: true })
  }
}, 300_000)
