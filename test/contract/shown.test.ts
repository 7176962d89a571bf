import { describe, expect, test } from 'vitest'
import { parseJob } from '../../src/contract/job.ts'
import { kindOf, shown } from '../../src/contract/shown.ts'

function refusalOf(body: unknown): string {
  try {
    parseJob(body)
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('the job was accepted')
}

describe('a refusal says what it got where that is', () => {
  test.for<[body: unknown, message: string | RegExp]>([
    [null, 'job: expected object, got null'],
    [[], 'job: expected object, got array'],
    [undefined, 'job: expected object, got nothing'],
    ['', 'job: expected object, got an empty string'],
    [{ inputs: null }, 'job: inputs: expected string, got null'],
    [{ inputs: Number.NaN }, 'job: inputs: expected string, got NaN'],
    [
      { inputs: '' },
      'job: inputs: the prompt is empty; expected at least one character, got an empty string',
    ],
    [{ inputs: 'x', deadline_ms: '' }, 'job: deadline_ms: expected number, got an empty string'],
    [{ inputs: 'x', tools: null }, /leave it out, got null$/],
    [{ inputs: 'x', tools: [1, 2] }, /leave it out, got an array of 2$/],
    [{ inputs: 'x', placement: {} }, /leave it out, got an object$/],
    [{ inputs: 'x', tenant: '' }, /^job: tenant: .*, got an empty string$/],
    [{ inputs: 'x', priority: [] }, /, got an empty array$/],
    [{ messages: [{ role: 'user', content: null }] }, /messages\.0\.content: .*, got null$/],
    [{ messages: [{ content: 'x' }] }, 'job: messages.0.role: expected string, got nothing'],
    [{ inputs: 'x', parameters: { truncate: Number.NaN } }, /cut silently; expected null, got NaN$/],
    [{ inputs: 'x', parameters: { best_of: null, truncate: 5 } }, /expected null, got 5$/],
    [{ inputs: 'x', parameters: { best_of: 2n } }, /expected 1 or null, got 2$/],
    [{ inputs: 'x', parameters: { grammar: '' } }, /parameters\.grammar: .*, got an empty string$/],
  ])('case %#', ([body, message]) => {
    expect(refusalOf(body)).toMatch(message)
  })
})

test('no kind shows a content', () => {
  for (const value of ['SECRET', ['SECRET'], { SECRET: 'SECRET' }, Symbol('SECRET'), () => 'SECRET'])
    expect(kindOf(value)).not.toContain('SECRET')
  for (const value of [['SECRET'], { SECRET: 'SECRET' }, Symbol('SECRET')])
    expect(shown(value)).not.toContain('SECRET')
})
