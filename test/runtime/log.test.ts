import { expect, test } from 'vitest'
import { describeError } from '../../src/runtime/log.ts'

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
