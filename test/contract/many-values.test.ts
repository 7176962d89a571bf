import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { boundedArray } from '../../src/contract/bounded.ts'
import { DEFAULT_POOL_CONFIG } from '../../src/contract/pool-config.ts'
import { parseJob } from '../../src/contract/job.ts'
import { parseJsonText } from '../../src/contract/json-text.ts'
import { budgetOf, checkBodySize } from '../../src/contract/limits.ts'
import { PoolError } from '../../src/contract/error.ts'
import { DEAR_BODIES } from './many-values.ts'

/** More than any bound lets through, and small enough for a test. */
const BYTES = 400_000

const listOf = (length: number, value: string) => ({ list: Array.from({ length }, () => value) })

function read(text: string): unknown {
  return parseJob(parseJsonText(text, 'the body'))
}

function refusalOf(text: string): PoolError {
  try {
    read(text)
  } catch (error) {
    if (error instanceof PoolError) return error
    throw error
  }
  throw new Error('it was not refused')
}

describe('a body that is cheap to write and dear to check', () => {
  test.for(Object.entries(DEAR_BODIES))('with %s is refused in one short line', ([, make]) => {
    const { kind, message } = refusalOf(make(BYTES))
    expect(kind).toBe('INVALID_PARAMS')
    expect(message.length).toBeLessThan(700)
    expect(message).toMatch(/expected|invalid JSON|unknown field|lone|surrogate/)
  })

  test('has no element looked at in an array that is too long, and few bad ones in another', () => {
    const seen: unknown[] = []
    const element = z.unknown().refine((value) => seen.push(value) > 0 && value !== 'bad')
    const schema = z.object({ list: boundedArray(element, { max: 100 }) })
    expect(schema.safeParse(listOf(101, 'good')).error?.issues).toHaveLength(1)
    expect(seen).toHaveLength(0)
    expect(schema.safeParse(listOf(100, 'bad')).error?.issues).toHaveLength(5)
    expect(seen).toHaveLength(5)
    expect(schema.parse(listOf(100, 'good'))).toEqual(listOf(100, 'good'))
  })
})

describe('a large job that is real', () => {
  const messages = Array.from({ length: 10_000 }, (_, at) => ({
    role: at % 2 === 0 ? 'user' : 'assistant',
    content: at % 10 === 0 ? [{ type: 'text' as const, text: `message ${at}` }] : `message ${at}`,
  }))
  const properties = Object.fromEntries(
    Array.from({ length: 3000 }, (_, at) => [
      `field_${at}`,
      { type: 'string', maxLength: 40, title: `${at}` },
    ]),
  )

  test('passes: ten thousand messages and a schema of three thousand properties', () => {
    const job = parseJob({ messages, parameters: { grammar: { type: 'json', value: { properties } } } })
    expect(job.messages).toHaveLength(10_000)
    expect(budgetOf(job, DEFAULT_POOL_CONFIG).maxNewTokens).toBe(512)
  })

  test.for([
    {
      body: { messages: [...messages, messages[0]] },
      says: 'messages: expected an array of 1 to 10000, got one of 10001',
    },
    { body: { messages: [] }, says: 'messages: expected an array of 1 to 10000, got one of 0' },
    {
      body: { inputs: 'x', parameters: { stop: Array.from({ length: 257 }, () => 'a') } },
      says: 'parameters.stop: expected an array of at most 256, got one of 257',
    },
    {
      body: { inputs: 'x', parameters: { grammar: { type: 'regex', value: 'a'.repeat(32_769) } } },
      says: 'expected at most 32768 characters, got 32769 characters',
    },
    {
      body: {
        inputs: 'x',
        parameters: { grammar: { type: 'json', value: { properties: {}, title: 'a'.repeat(262_144) } } },
      },
      says: 'expected at most 262144 bytes of JSON Schema, got',
    },
    {
      body: {
        inputs: 'x',
        parameters: {
          grammar: { type: 'json', value: { properties: {}, enum: Array.from({ length: 20_000 }, () => 0) } },
        },
      },
      says: 'expected at most 20000 values at all depths together, got more',
    },
    {
      body: {
        inputs: 'x',
        parameters: {
          grammar: { type: 'json', value: `{"properties":{},"enum":[${'0,'.repeat(20_000)}0]}` },
        },
      },
      says: 'expected at most 20000 values at all depths together, got more',
    },
    {
      body: { messages: [{ role: 'user', content: [0] }] },
      says: 'messages.0.content: expected a string, or an array of 1 to 10000 parts',
    },
  ])('one over a bound is refused: $says', ({ body, says }) => {
    expect(() => parseJob(body)).toThrow(says)
  })
})

describe('max_input_bytes', () => {
  const config = { ...DEFAULT_POOL_CONFIG, max_input_bytes: 100 }
  test.for([
    [{ inputs: 'a'.repeat(100) }, undefined],
    [
      { inputs: 'a'.repeat(101) },
      "inputs (bytes): expected at most 100 (the pool's max_input_bytes), got 101",
    ],
    [{ inputs: 'a'.repeat(95), parameters: { stop: ['a'] } }, undefined],
    [{ inputs: 'a'.repeat(95), parameters: { stop: ['ab'] } }, 'inputs + stop (bytes)'],
    [
      { inputs: 'a', parameters: { grammar: { type: 'regex' as const, value: 'a'.repeat(100) } } },
      'inputs + grammar (bytes)',
    ],
    [{ messages: [{ role: 'user', content: 'a'.repeat(100) }] }, 'messages (bytes)'],
  ] as const)('counts prompt, stop and grammar, case %#', ([body, says]) => {
    const check = () => budgetOf(parseJob(body), config)
    if (says === undefined) expect(check).not.toThrow()
    else expect(check).toThrow(says)
  })

  test('does not raise the bound of every body', () => {
    expect(() => checkBodySize(8_000_000)).not.toThrow()
    expect(() => checkBodySize(8_388_608)).toThrow(/expected at most 8388352 bytes of JSON, got 8388608/)
  })
})
