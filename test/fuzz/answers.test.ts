import { describe, expect, test } from 'vitest'
import { readAnswers } from './answers.ts'
import { checkOutcome } from './check-answers.ts'
import { MARK } from './shot.ts'

const read = (text: string, methods: readonly string[] = ['GET'], isClosed = false) =>
  readAnswers(Buffer.from(text), methods, isClosed)

describe('answers on a connection', () => {
  test('are read one after the other, whatever ends their bodies', () => {
    const { answers, fault } = read(
      'HTTP/1.1 100 Continue\r\n\r\n' +
        'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\né!' +
        'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n' +
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n' +
        'HTTP/1.1 204 No Content\r\n\r\n' +
        'HTTP/1.0 404 Not Found\r\nX: y\r\n\r\nto the end',
      ['GET', 'HEAD', 'GET', 'GET', 'GET'],
      true,
    )
    expect(fault).toBeUndefined()
    expect(answers.map(({ status, body, isWhole }) => [status, body, isWhole])).toEqual([
      [200, 'é!', true],
      [200, '', true],
      [200, 'abc', true],
      [204, '', true],
      [404, 'to the end', true],
    ])
  })

  test.each([
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab',
    'HTTP/1.1 200 OK\r\n\r\nab',
  ])('that are cut are not whole: %j', (text) => {
    const { answers, fault } = read(text)
    expect(fault).toBeUndefined()
    expect(answers.map(({ isWhole }) => isWhole)).toEqual([false])
  })

  test.each([
    ['nonsense\r\n\r\n', 'expected a status line, got "nonsense"'],
    ['HTTP/1.1 2000 OK\r\n\r\n', 'expected a status line'],
    ['HTTP/1.1 200 OK\r\nno colon\r\n\r\n', 'expected a header, got "no colon"'],
    ['HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n', 'Content-Length: expected digits'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n', "expected a chunk's size"],
    ['HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc\r\n\r\n', 'expected a status line'],
  ])('that are no HTTP are named: %j', (text, fault) => {
    expect(read(text).fault).toContain(fault)
  })
})

const answered = (status: number, body: string) =>
  checkOutcome(
    { pieces: [], expects: ['GET'], ending: 'read' },
    {
      answers: [{ status, headers: new Map<string, string>(), body, isWhole: true }],
      fault: undefined,
      size: 1,
      isSilent: false,
    },
    false,
  )
const envelope = (code: string, message = 'm') =>
  JSON.stringify({ error: { code, message, retriable: false } })

describe('what a client may expect', () => {
  test('is the envelope in an error, no status from 500 on, and no prompt', () => {
    expect(answered(200, 'anything')).toBeUndefined()
    expect(answered(400, envelope('INVALID_PARAMS'))).toBeUndefined()
    expect(answered(400, 'Bad Request')?.expected).toBe('the error envelope')
    expect(answered(500, envelope('INTERNAL'))).toMatchObject({ isPerhaps: false })
    expect(answered(503, envelope('REDIS_UNAVAILABLE'))).toMatchObject({ isPerhaps: true })
    expect(answered(400, envelope('INVALID_PARAMS', `got ${MARK}`))?.expected).toContain('no prompt')
  })

  test('is as many answers as requests', () => {
    const silence = { answers: [], fault: undefined, size: 0, isSilent: true }
    expect(checkOutcome({ pieces: [], expects: ['GET'], ending: 'read' }, silence, false)?.got).toContain(
      'silence',
    )
    expect(checkOutcome({ pieces: [], expects: 'any', ending: 'read' }, silence, false)).toBeUndefined()
  })
})
