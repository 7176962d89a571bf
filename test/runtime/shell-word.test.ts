import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { shellWord } from '../../src/runtime/shell-word.ts'

/** What a shell makes of a command line: the arguments of printf, each ended by a NUL. */
async function argumentsOf(words: readonly string[]): Promise<string[]> {
  const command = `printf '%s\\0' ${words.map(shellWord).join(' ')}`
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', command])
  return stdout.split('\0').slice(0, -1)
}

const HARMFUL = [
  '$(touch /tmp/pwned)',
  '`id`',
  '; rm -rf ~',
  "it's",
  "'; echo x; '",
  '"$HOME"',
  'two words',
  'line\nline',
  'a\\',
  '*',
  '~',
  '!!',
  '#no',
  '<in >out &',
  'http://[::1]:80/$(id)',
  '{a,b}',
  '',
  '-n',
  'é 😀',
]

test('whatever a word holds, the command gets it as one argument', async () => {
  expect(await argumentsOf(HARMFUL)).toEqual(HARMFUL)
})

test('so is any text', async () => {
  const words = fc.sample(fc.string({ unit: 'grapheme' }), { numRuns: 500, seed: 1 })
  const some = words.filter((word) => !word.includes('\0'))
  expect(await argumentsOf(some)).toEqual(some)
})

test.each(['gpu-1', 'http://10.0.0.1:8080/health', 'tgi-pool:pools', 'pin=x', '/a/b_c@d%e+f,g'])(
  '%s needs no quotes',
  (word) => {
    expect(shellWord(word)).toBe(word)
  },
)
