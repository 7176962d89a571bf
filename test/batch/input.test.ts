import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test as base, expect } from 'vitest'
import { surveyInput } from '../../src/batch/input.ts'
import type { InputSurvey } from '../../src/batch/input.ts'

const test = base.extend('file', async ({}, { onCleanup }) => {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-input-'))
  onCleanup(() => rm(dir, { recursive: true }))
  return join(dir, 'jobs.jsonl')
})

const signal = new AbortController().signal
const LINES = Array.from({ length: 250 }, (_, index) => (index === 4 ? '' : `{"inputs":"line ${index + 1}"}`))

async function survey(file: string, lines: readonly string[], before?: InputSurvey): Promise<InputSurvey> {
  await writeFile(file, lines.map((line) => `${line}\n`).join(''))
  return surveyInput({ file, signal, before })
}

test('counts lines and jobs, and knows the file again', async ({ file }) => {
  const first = await survey(file, LINES)
  expect(first).toMatchObject({ lines: 250, jobs: 249, blocks: { length: 2 } })
  expect(await survey(file, LINES, first)).toEqual(first)
})

test('lines may be added at the end', async ({ file }) => {
  const first = await survey(file, LINES)
  const longer = await survey(file, [...LINES, '{"inputs":"one more"}'], first)
  expect(longer).toMatchObject({ lines: 251, jobs: 250 })
  expect(await survey(file, [...LINES, '{"inputs":"one more"}', '{"inputs":"two"}'], longer)).toMatchObject({
    lines: 252,
  })
})

test.for([
  [
    'changed',
    LINES.with(120, '{"inputs":"SECRET"}'),
    'one of lines 101 to 200 is not what the run started with',
  ],
  ['changed near the end', LINES.with(249, '{"inputs":"SECRET"}'), 'one of lines 201 to 250 is not'],
  ['blank now', LINES.with(0, ''), 'one of lines 1 to 100 is not'],
  ['swapped', LINES.with(10, LINES[11] ?? '').with(11, LINES[10] ?? ''), 'one of lines 1 to 100 is not'],
  ['missing in the middle', LINES.toSpliced(30, 1), 'one of lines 1 to 100 is not'],
  ['missing at the end', LINES.slice(0, 200), 'it has 200 lines, and had 250'],
] as const)('a line that is %s is refused', async ([, lines, message], { file }) => {
  const first = await survey(file, LINES)
  const error = await survey(file, lines, first).catch((refused: unknown) => refused)
  expect(error).toMatchObject({ kind: 'INVALID_PARAMS', message: expect.stringContaining(message) })
  expect((error as Error).message).not.toContain('SECRET')
})
