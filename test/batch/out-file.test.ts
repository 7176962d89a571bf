import { appendFile, lstat, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test as base, expect } from 'vitest'
import { openOutFile } from '../../src/batch/out-file.ts'
import type { OutFile } from '../../src/batch/out-file.ts'
import type { Outcome } from '../../src/batch/record.ts'

const test = base.extend('path', async ({}, { onCleanup }) => {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-out-'))
  onCleanup(() => rm(dir, { recursive: true }))
  return join(dir, 'answers.jsonl')
})

const failure = (line: number) => ({
  job_id: `j-${line}`,
  line,
  error: { code: 'INTERNAL', message: 'a fault', retriable: true },
})
const answer = (line: number) => ({
  job_id: `j-${line}`,
  line,
  text: 'a text\nof two lines \u2028',
  finish_reason: 'length' as const,
  usage: { tokens_in: 1, tokens_out: 2 },
})

async function scan(file: OutFile): Promise<Outcome[]> {
  const seen: Outcome[] = []
  await file.scan((outcome) => seen.push(outcome))
  return seen
}

test('records that were appended are read again, in their order', async ({ path }) => {
  const file = await openOutFile(path)
  expect(file.isEmpty).toBe(true)
  await Promise.all([file.append(answer(2)), file.append(failure(1)), file.append(answer(3))])
  await file.append(answer(4))
  await file.close()
  const again = await openOutFile(path)
  expect(again).toMatchObject({ isEmpty: false, size: (await readFile(path)).length })
  expect(await scan(again)).toEqual([
    { jobId: 'j-2', line: 2, code: undefined },
    { jobId: 'j-1', line: 1, code: 'INTERNAL' },
    { jobId: 'j-3', line: 3, code: undefined },
    { jobId: 'j-4', line: 4, code: undefined },
  ])
  await again.close()
})

test('a record that is appended while others are being written is written, too', async ({ path }) => {
  const file = await openOutFile(path)
  const chain = async (line: number): Promise<void> => {
    await file.append(answer(line))
    if (line < 50) await chain(line + 1)
  }
  await chain(1)
  await file.close()
  expect((await readFile(path, 'utf8')).split('\n')).toHaveLength(51)
})

test('a last line cut at any byte is cut off, and nothing else', async ({ path }) => {
  const whole = `${JSON.stringify(answer(1))}\n`
  const torn = `${JSON.stringify(answer(2))}\n`
  for (let length = 0; length < torn.length; length += 1) {
    await writeFile(path, whole + torn.slice(0, length))
    const file = await openOutFile(path)
    expect(await scan(file)).toMatchObject([{ line: 1 }])
    await file.append(answer(3))
    await file.close()
    expect(await readFile(path, 'utf8')).toBe(
      whole + `${JSON.stringify(answer(3))}\n`.replace('\u2028', '\\u2028'),
    )
  }
})

test('what a crash of the machine left behind the last record is cut off', async ({ path }) => {
  await writeFile(path, `${JSON.stringify(answer(1))}\n${'\0'.repeat(100)}\n\0\0\n{"half":`)
  const file = await openOutFile(path)
  expect(await scan(file)).toMatchObject([{ line: 1 }])
  await file.close()
  expect(await readFile(path, 'utf8')).toBe(`${JSON.stringify(answer(1))}\n`)
})

test('something else between records is an error that names its line, and stays', async ({ path }) => {
  const text = `${JSON.stringify(answer(1))}\nSECRET\n${JSON.stringify(answer(2))}\n`
  await writeFile(path, text)
  const file = await openOutFile(path)
  const error = await scan(file).catch((refused: unknown) => refused)
  expect(error).toMatchObject({
    kind: 'CONFIG',
    message: expect.stringContaining('line 2: expected a record'),
  })
  expect((error as Error).message).not.toContain('SECRET')
  await file.close()
  expect(await readFile(path, 'utf8')).toBe(text)
})

test('a file is one run at a time, also when its first run has replaced it', async ({ path }) => {
  const refused = { kind: 'CONFIG', message: expect.stringContaining('another process is writing') }
  const file = await openOutFile(path)
  await expect(openOutFile(path)).rejects.toMatchObject(refused)
  await Promise.all([file.append(answer(1)), file.append(failure(2)), file.append(answer(3))])
  await file.rewrite(({ code }) => code === undefined)
  await expect(openOutFile(path)).rejects.toMatchObject(refused)
  await file.append(failure(4))
  await file.close()
  const again = await openOutFile(path)
  expect(await scan(again)).toMatchObject([{ line: 1 }, { line: 3 }, { line: 4 }])
  await again.close()
})

test('a rewrite that was cut short changes nothing', async ({ path }) => {
  await writeFile(path, `${JSON.stringify(answer(1))}\n`)
  await appendFile(`${path}.next`, 'half of a rewritten file')
  const file = await openOutFile(path)
  expect(await scan(file)).toMatchObject([{ line: 1 }])
  await file.rewrite(() => true)
  await file.close()
  expect(await readFile(path, 'utf8')).toBe(`${JSON.stringify(answer(1))}\n`)
})

test('a file that is not there can be made only in a folder that is', async ({ path }) => {
  await expect(openOutFile(`${path}/none/answers.jsonl`)).rejects.toMatchObject({ kind: 'CONFIG' })
})

test('a file that a run has not written stays as it is', async ({ path }) => {
  for (const text of [
    'precious 1\nprecious 2\n',
    `${JSON.stringify(answer(1))}\nprecious\n`,
    `${JSON.stringify(answer(1))}\nprecious`,
  ]) {
    await writeFile(path, text)
    const file = await openOutFile(path)
    await expect(scan(file)).rejects.toMatchObject({
      kind: 'CONFIG',
      message: expect.stringMatching(/line \d: expected a record/),
    })
    await file.close()
    expect(await readFile(path, 'utf8')).toBe(text)
  }
})

test('blank lines at the end are cut off', async ({ path }) => {
  const whole = `${JSON.stringify(answer(1))}\n`
  await writeFile(path, `${whole}\n \n`)
  const file = await openOutFile(path)
  expect(await scan(file)).toMatchObject([{ line: 1 }])
  await file.close()
  expect(await readFile(path, 'utf8')).toBe(whole)
})

test('a symlink stays one when the file is rewritten, and has the state of its target', async ({ path }) => {
  const link = `${path}.link`
  await symlink(path, link)
  const file = await openOutFile(link)
  expect(file.path).toBe(path)
  await Promise.all([file.append(answer(1)), file.append(failure(2))])
  await file.rewrite(({ code }) => code === undefined)
  await file.close()
  expect((await lstat(link)).isSymbolicLink()).toBe(true)
  expect(await readFile(path, 'utf8')).toMatch(/^\{"job_id":"j-1".*\}\n$/)
})

test('a device is no file of answers', async () => {
  await expect(openOutFile('/dev/null')).rejects.toMatchObject({
    kind: 'CONFIG',
    message: '--out: expected a file, got a pipe or device: /dev/null',
  })
})

test('a file that is removed or renamed while it is written takes no more records', async ({ path }) => {
  for (const takeAway of [() => rm(path), () => rename(path, `${path}.moved`)]) {
    const file = await openOutFile(path)
    await file.append(answer(1))
    await takeAway()
    await expect(file.append(answer(2))).rejects.toMatchObject({
      kind: 'INTERNAL',
      message: expect.stringContaining('answers.jsonl was removed, renamed or replaced'),
    })
    await expect(file.append(answer(3))).rejects.toMatchObject({ kind: 'INTERNAL' })
    await file.close()
  }
})
