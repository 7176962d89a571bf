import { expect, test } from 'vitest'
import { describeError } from '../../src/runtime/log.ts'
import { prettyLog } from '../../src/runtime/pretty-log.ts'

test('what a library hangs on its errors is not logged: it may hold a prompt', () => {
  const error = Object.assign(new Error('ERR syntax error'), {
    command: { name: 'xadd', args: ['secret prompt'] },
    kind: 'INTERNAL',
  })
  expect(JSON.stringify(describeError(error))).toBe(
    '{"type":"Error","message":"ERR syntax error","kind":"INTERNAL"}',
  )
})

test('something thrown that is no error is not logged either', () => {
  expect(describeError('secret prompt')).toEqual({ type: 'string', message: 'not an error object' })
})

test('a line for people is one line without anything that a terminal obeys', () => {
  const line = prettyLog(
    JSON.stringify({
      level: 'warn',
      time: '2026-11-27T10:00:00.000Z',
      pid: 1,
      name: 'worker',
      reason: '\u001b]52;c;aGk=\u0007\u009b31m\u202e',
      msg: 'replica is\nunhealthy \u001b[2J',
    }),
  )
  expect(line).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] WARN: /)
  expect(line).toContain(String.raw`replica is\nunhealthy \u001b[2J`)
  expect(line).toContain(String.raw`{"reason":"\u001b]52;c;aGk=\u0007\u009b31m\u202e"}`)
  expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}]/u)
})
