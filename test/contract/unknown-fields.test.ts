import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { closest } from '../../src/contract/closest.ts'
import { jobSchema, parseJob } from '../../src/contract/job.ts'
import { parametersSchema } from '../../src/contract/parameters.ts'

function refusalOf(body: unknown): string {
  try {
    parseJob(body)
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('the job was accepted')
}

describe('an unknown field of a job names the one that was meant', () => {
  test.for<[field: string, hint: string]>([
    ['prompt', 'use inputs'],
    ['Prompt', 'use inputs'],
    ['max_tokens', 'use parameters.max_new_tokens'],
    ['maxTokens', 'use parameters.max_new_tokens'],
    ['max_completion_tokens', 'use parameters.max_new_tokens'],
    ['max_length', 'use parameters.max_new_tokens'],
    ['n_predict', 'use parameters.max_new_tokens'],
    ['max_new_tokens', 'use parameters.max_new_tokens'],
    ['maxNewTokens', 'use parameters.max_new_tokens'],
    ['max_new_token', 'use parameters.max_new_tokens'],
    ['temperature', 'use parameters.temperature'],
    ['topP', 'use parameters.top_p'],
    ['stop', 'use parameters.stop'],
    ['stop_sequences', 'use parameters.stop'],
    ['watermark', 'use parameters.watermark'],
    ['adapter_id', 'use parameters.adapter_id'],
    ['response_format', 'use parameters.grammar'],
    ['logit_bias', 'TGI has no such parameter'],
    [
      'presence_penalty',
      'TGI has no such parameter; use parameters.frequency_penalty or parameters.repetition_penalty',
    ],
    ['model', 'leave it out: a pool serves one model, so choose the pool instead'],
    ['stream', 'leave it out: every job streams'],
    ['n', 'a job has one answer: enqueue it once for each'],
    ['best_of', 'a job has one answer: enqueue it once for each'],
    ['system', 'use messages, the first one with the role system'],
    ['return_full_text', 'leave it out: the prompt is never part of the answer'],
    ['truncate', 'leave it out: prompts are never cut silently'],
    ['details', 'leave it out: details are always on'],
    ['decoder_input_details', 'leave it out: TGI refuses it when streaming'],
    ['job_id', "the id is not part of the job: use the option jobId of the library or of BullMQ's add"],
    ['jobId', 'use job_id over HTTP and in a file, the option jobId in the library'],
    ['deadlineMs', 'use deadline_ms'],
    ['correlationId', 'use correlation_id'],
    ['proirity', 'did you mean priority?'],
    ['paramters', 'did you mean parameters?'],
    ['temperture', 'use parameters.temperature'],
  ])('%s', ([field, hint]) => {
    expect(refusalOf({ inputs: 'x', [field]: 1 })).toBe(`job: unknown field "${field}" (${hint})`)
  })

  test.for<[field: string, hint: string]>([
    ['max_tokens', 'use max_new_tokens'],
    ['maxNewTokens', 'use max_new_tokens'],
    ['stop_sequences', 'use stop'],
    ['n', 'a job has one answer: enqueue it once for each'],
    ['model', 'leave it out: a pool serves one model, so choose the pool instead'],
    ['deadline_ms', 'put deadline_ms next to parameters'],
    ['prompt', 'put inputs next to parameters'],
    ['temprature', 'did you mean temperature?'],
  ])('%s among the parameters', ([field, hint]) => {
    const message = refusalOf({ inputs: 'x', parameters: { [field]: 1 } })
    expect(message).toBe(`job: parameters: unknown field "${field}" (${hint})`)
  })

  test('in a message', () => {
    expect(refusalOf({ messages: [{ role: 'user', content: 'x', text: 'x' }] })).toContain(
      'messages.0: unknown field "text" (use content)',
    )
  })

  test('each of several, and the first five of many', () => {
    expect(refusalOf({ inputs: 'x', stream: true, colour: 'red', model: 'm' })).toBe(
      'job: unknown fields "stream" (leave it out: every job streams), "colour", "model" (leave it out: a pool serves one model, so choose the pool instead)',
    )
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`max_tokens${at}`, 1]))
    expect(refusalOf({ inputs: 'x', ...many }).match(/max_tokens\d/g)).toHaveLength(5)
  })

  test.for(['__proto__', 'constructor', 'toString', 'colour', 'x', '', 'ü'])(
    'none where none is near: %j',
    (field) => {
      const body: unknown = JSON.parse(`{"inputs":"x",${JSON.stringify(field)}:1}`)
      expect(refusalOf(body)).toBe(`job: unknown field ${JSON.stringify(field)}`)
    },
  )

  test('and a hint names a field that exists', () => {
    const fields = [...Object.keys(jobSchema.shape), ...Object.keys(parametersSchema.shape)]
    for (const field of [
      'prompt',
      'max_tokens',
      'response_format',
      'timeout',
      'trace_id',
      'user',
      'params',
      'lora',
    ]) {
      const named = /\(use (?:parameters\.)?(\w+)/.exec(refusalOf({ inputs: 'x', [field]: 1 }))?.[1]
      expect(fields).toContain(named)
    }
  })
})

describe('the closest word', () => {
  test.for<[word: string, found: string | undefined]>([
    ['priority', 'priority'],
    ['proirity', 'priority'],
    ['priorit', 'priority'],
    ['prioritys', 'priority'],
    ['pri', undefined],
    ['seeds', 'seed'],
    ['weed', 'seed'],
    ['weeds', undefined],
    ['see', undefined],
  ])('to %s is %s', ([word, found]) => {
    expect(closest(word, ['priority', 'seed', 'tenant'])).toBe(found)
  })

  test('is the word itself wherever it stands, and never one that is far', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 12 })), fc.string({ maxLength: 12 }), (words, word) => {
        expect(closest(word, [...words, word])).toBe(word)
        const near = closest(word, words)
        if (near !== undefined) expect(Math.abs(near.length - word.length)).toBeLessThanOrEqual(2)
      }),
    )
  })

  test('to a very long word is not looked for', () => {
    expect(closest('a'.repeat(100_000), ['a'.repeat(100_000)])).toBeUndefined()
  })
})
