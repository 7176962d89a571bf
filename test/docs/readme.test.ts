import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import type { BenchDocument } from '../../bench/support/report.ts'
import { readPage, rowsWith } from './markdown.ts'

/** Rows of README's comparison: the bench behind each, and the measures that its cells round, by its columns. */
const ROWS: Readonly<Record<string, readonly [bench: string, ...measures: readonly string[]]>> = {
  'tokens/s to 64 readers': ['rivals-throughput', 'tokens_per_second'],
  'token delay': ['rivals-latency', 'p50_ms', 'p99_ms'],
  'memory of the process': ['rivals-memory', 'work_rss_mib'],
  'catches up': ['rivals-reconnect', 'caught_up_p50_ms'],
  'missed tokens': ['rivals-reconnect', 'after_end_tokens'],
}

const COLUMNS = {
  'tgi-pool': 'tgi_pool',
  'TGI directly': 'direct',
  'BullMQ by hand': 'bullmq_xadd',
  'resumable-stream': 'resumable_stream',
} as const

async function figuresOf(bench: string): Promise<Readonly<Record<string, number>>> {
  const file = new URL('../../bench/results.json', import.meta.url)
  const { benches } = JSON.parse(await readFile(file, 'utf8')) as BenchDocument
  const found = benches.find(({ name }) => name === bench)
  return { ...found?.figures, ...found?.baseline }
}

/** The numbers of a cell. */
function numbersIn(cell: string): number[] {
  return (cell.match(/\d[\d,.]*\d|\d/g) ?? []).map((text) => Number(text.replaceAll(',', '')))
}

function rounded(value: number): number {
  return value < 20 ? Number(value.toFixed(1)) : Math.round(value)
}

test('README.md fits on a few screens and says its version and that of TGI', async () => {
  const page = await readPage('README.md')
  expect(page.split('\n').length - 1).toBeLessThanOrEqual(160)
  const { version } = JSON.parse(await readPage('package.json')) as { version: string }
  expect(page).toContain(`**Status**: ${version},`)
  const image = /text-generation-inference:([\d.]+)/.exec(await readPage('compose.yaml'))?.[1]
  expect(page).toContain(`router of TGI ${image},`)
})

test('README.md compares with the figures of the benches', async () => {
  const rows = rowsWith(await readPage('README.md'), 'TGI directly')
  const rowOf = (begin: string) => rows.find((row) => row['']?.includes(begin)) ?? {}
  for (const [begin, [bench, ...measures]] of Object.entries(ROWS)) {
    const figures = await figuresOf(bench)
    for (const [column, name] of Object.entries(COLUMNS)) {
      const expected = measures.map((measure) => figures[`${name}_${measure}`])
      if (expected.includes(undefined)) continue
      const shown = numbersIn(rowOf(begin)[column] ?? '')
      expect(shown, `${begin}: ${column}`).toEqual(expected.map((value) => rounded(value ?? 0)))
    }
  }
  const byHttp = await figuresOf('first-byte')
  const first = rowOf('first token over HTTP')
  expect(numbersIn(first['tgi-pool'] ?? '')).toEqual([rounded(byHttp['gateway_prefill_0_token_p50_ms'] ?? 0)])
  expect(numbersIn(first['TGI directly'] ?? '')).toEqual([
    rounded(byHttp['direct_prefill_0_token_p50_ms'] ?? 0),
  ])
  const cancel = await figuresOf('cancel')
  const cancelled = rowOf('cancel to closed')
  expect(numbersIn(cancelled['tgi-pool'] ?? '')).toEqual([rounded(cancel['cancel_p50_ms'] ?? 0)])
  expect(numbersIn(cancelled['TGI directly'] ?? '')).toEqual([rounded(cancel['abort_alone_p50_ms'] ?? 0)])
  const death = await figuresOf('rivals-death')
  const killed = rowOf('process killed')
  expect(numbersIn(killed['tgi-pool'] ?? '')).toEqual([rounded((death['tgi_pool_told_ms'] ?? 0) / 1000)])
  expect(numbersIn(killed['BullMQ by hand'] ?? '')).toEqual([death['bullmq_xadd_repeated_tokens']])
  for (const [column, name] of Object.entries(COLUMNS)) {
    const whole = death[`${name}_whole`]
    if (whole !== undefined) expect(killed[column]).toContain(whole === 1 ? 'yes' : 'no')
  }
})
