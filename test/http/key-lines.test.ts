import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { parseKeyLines } from '../../src/http/key-lines.ts'

const KEY = 'k'.repeat(32)
const OTHER = 'o'.repeat(32)
const digest = (key: string) => createHash('sha256').update(key).digest('hex').slice(0, 8)

test.for<[text: string, keys: readonly (readonly [name: string, ...scopes: string[]])[]]>([
  [KEY, [[digest(KEY)]]],
  [`  ${KEY}\t\r\n\n# ${OTHER}\n${OTHER}`, [[digest(KEY)], [digest(OTHER)]]],
  [`app ${KEY}`, [['app']]],
  [`app+operate \t ${KEY}`, [['app', 'operate']]],
  [`app+operate+operate ${KEY}`, [['app', 'operate']]],
  ['a+b+c+operate+1234567890', [[digest('a+b+c+operate+1234567890')]]],
  [`A.b_c-1 ${KEY}\nA.b_c-1+operate ${OTHER}`, [['A.b_c-1'], ['A.b_c-1', 'operate']]],
  [`app ${KEY}\napp ${KEY}`, [['app']]],
])('%j has its keys', ([text, expected]) => {
  const { keys, fault } = parseKeyLines(text)
  expect(fault).toBeUndefined()
  expect(keys.map(({ name, scopes }) => [name, ...scopes])).toEqual(expected)
})

test.for([
  [`${KEY}\nshort`, 'line 2: expected at least 16 visible ASCII characters'],
  [`${KEY}\napp short`, 'line 2: expected at least 16 visible ASCII characters'],
  [`${KEY}\n${OTHER}é`, 'line 2: expected at least 16 visible ASCII characters'],
  [`${KEY}\napp my ${OTHER}`, 'line 2: expected a key, or a name and a key, got more words'],
  [`${KEY}\na/b ${OTHER}`, 'line 2: expected a name of 1 to 64 of A-Z a-z 0-9 . _ - before the key'],
  [`${KEY}\n+operate ${OTHER}`, 'line 2: expected a name of 1 to 64 of A-Z a-z 0-9 . _ - before the key'],
  [`${KEY}\napp+ ${OTHER}`, 'line 2: expected no scope but operate after the name, as in name+operate'],
  [`${KEY}\napp+admin ${OTHER}`, 'line 2: expected no scope but operate after the name, as in name+operate'],
  [`${KEY}\nproduction-app+operate`, 'line 2: expected a key after the name and its scopes'],
  [`${KEY}\nops+operate`, 'line 2: expected a key after the name and its scopes'],
  [`${KEY}\n\napp ${KEY}`, 'line 3: expected another key, got that of a line before it'],
  [`${KEY}\nshort\na/b ${OTHER}`, 'line 2: expected at least 16 visible ASCII characters'],
] as const)('%j keeps its good lines and names the first wrong one', ([text, fault]) => {
  const parsed = parseKeyLines(text)
  expect(parsed.fault).toBe(fault)
  expect(parsed.keys.map(({ name }) => name)).toEqual([digest(KEY)])
})
