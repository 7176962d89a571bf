import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test as base } from 'vitest'
import { openBearerKeys } from '../../src/http/bearer-keys.ts'
import { describeError } from '../../src/runtime/log.ts'

const KEY = 'k'.repeat(32)
const OTHER = 'o'.repeat(32)

const test = base.extend('keys', async ({}, { onCleanup }) => {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-keys-'))
  const file = join(dir, 'keys')
  await writeFile(file, `${KEY}\n${OTHER}\n`)
  const lines: Record<string, unknown>[] = []
  let removals = 0
  const logger = pino(
    { serializers: { err: describeError } },
    { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  )
  const keys = await openBearerKeys({ file, logger, lookMs: 10, onRemoved: () => (removals += 1) })
  onCleanup(async () => {
    keys.close()
    await rm(dir, { recursive: true })
  })
  return {
    file,
    lines,
    keys,
    removals: () => removals,
    may: (key: string) => keys.find(`Bearer ${key}`) !== undefined,
  }
})

/** Files in which no key is. */
const EMPTY: readonly (readonly [string, (file: string) => Promise<unknown>])[] = [
  ['empty', (file) => writeFile(file, '')],
  ['blank', (file) => writeFile(file, ' \r\n\n\t\n')],
  ['only a comment', (file) => writeFile(file, `# ${KEY}\n`)],
  ['only a short key', (file) => writeFile(file, `${KEY.slice(0, 15)}\n`)],
  ['only a key with two spaces in it', (file) => writeFile(file, `a ${KEY} ${KEY}\n`)],
  ['only a key behind no name', (file) => writeFile(file, `a/b ${KEY}\n`)],
  ['only a key with an unknown scope', (file) => writeFile(file, `a+admin ${KEY}\n`)],
  ['missing', (file) => rm(file)],
  ['renamed', (file) => rename(file, `${file}.old`)],
  [
    'not a file',
    async (file) => {
      await rm(file)
      await mkdir(file)
    },
  ],
]

describe('a file of bearer keys', () => {
  test.for(EMPTY)('that becomes %s lets nobody in, and this is logged once', async ([, change], { keys }) => {
    await change(keys.file)
    await expect.poll(() => keys.may(KEY) || keys.may(OTHER)).toBe(false)
    await keys.keys.reload()
    expect(keys.removals()).toBe(1)
    expect(keys.lines).toMatchObject([{ level: 50, keys: 0, msg: expect.stringContaining('every request') }])
    expect(JSON.stringify(keys.lines)).not.toMatch(/k{15}|o{15}/)
    await rm(keys.file, { recursive: true, force: true })
    await writeFile(keys.file, KEY)
    await expect.poll(() => keys.may(KEY)).toBe(true)
    expect(keys.lines.at(-1)).toMatchObject({ level: 30, keys: 1, msg: 'bearer keys reloaded' })
  })

  test('loses the keys that are removed, also when another line is wrong', async ({ keys }) => {
    const id = keys.keys.find(`Bearer ${KEY}`)?.id ?? ''
    expect(keys.keys.has(id)).toBe(true)
    await writeFile(keys.file, `${OTHER}\r\nshort\n`)
    await expect.poll(() => keys.may(KEY)).toBe(false)
    expect(keys.may(OTHER)).toBe(true)
    expect(keys.keys.has(id)).toBe(false)
    expect(keys.removals()).toBe(1)
    expect(keys.lines).toMatchObject([
      { level: 50, keys: 1, err: { message: expect.stringContaining('line 2: expected at least 16') } },
    ])
  })

  test('that is written in place loses none of those that stay', async ({ keys }) => {
    const lines: string[] = []
    const logger = pino({}, { write: (line: string) => void lines.push(line) })
    let removed = false
    const onRemoved = () => (removed = true)
    const slow = await openBearerKeys({ file: keys.file, logger, lookMs: 10, rewriteMs: 1000, onRemoved })
    onTestFinished(() => slow.close())
    await writeFile(keys.file, '')
    await new Promise((resolve) => setTimeout(resolve, 50))
    await writeFile(keys.file, `${KEY}\n${OTHER}`)
    await expect.poll(() => lines.length).toBeGreaterThan(0)
    expect(lines.filter((line) => !line.includes('bearer keys reloaded'))).toEqual([])
    expect(removed).toBe(false)
    expect(slow.find(`Bearer ${KEY}`)).toBeDefined()
  })

  test('gives a key a name and a scope, and neither changes what it signs', async ({ keys }) => {
    const find = (key: string) => keys.keys.find(`Bearer ${key}`)
    const before = find(KEY)
    expect(before?.name).toMatch(/^[0-9a-f]{8}$/)
    expect(before?.may('operate')).toBe(false)
    await writeFile(keys.file, `ops+operate ${KEY}\nops ${OTHER}\n`)
    await keys.keys.reload()
    expect(find(KEY)).toMatchObject({ name: 'ops', id: before?.id })
    expect(find(KEY)?.may('operate')).toBe(true)
    expect(find(KEY)?.sign('a')).toBe(before?.sign('a'))
    expect(find(OTHER)?.name).toBe('ops')
    expect(find(OTHER)?.may('operate')).toBe(false)
    expect(find('ops')).toBeUndefined()
    expect(find(`ops+operate ${KEY}`)).toBeUndefined()
    expect(keys.removals()).toBe(0)
  })

  test('signs a text with each key, and with none alike', async ({ keys }) => {
    const [one, two] = [KEY, OTHER].map((key) => keys.keys.find(`Bearer ${key}`))
    expect(one?.sign('a')).toMatch(/^[0-9a-f]{64}$/)
    expect(one?.sign('a')).toBe(keys.keys.find(`bearer  ${KEY}`)?.sign('a'))
    expect(new Set([one?.sign('a'), one?.sign('b'), two?.sign('a'), two?.sign('b')]).size).toBe(4)
  })
})
