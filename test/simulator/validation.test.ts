import { expect } from 'vitest'
import { generate, send, test } from './support.ts'

const refused = (message: string) => [
  { error: `Input validation error: ${message}`, error_type: 'validation' },
]
const messages = [
  [{ best_of: 2 }, '`best_of` != 1 is not supported when streaming tokens'],
  [{ best_of: 0 }, '`best_of` != 1 is not supported when streaming tokens'],
  [{ decoder_input_details: true }, '`decoder_input_details` == true is not supported when streaming tokens'],
  [{ temperature: 0 }, '`temperature` must be strictly positive'],
  [{ repetition_penalty: 0 }, '`repetition_penalty` must be strictly positive'],
  [{ frequency_penalty: 2.5 }, '`frequency_penalty` must be >= -2.0 and <= 2.0'],
  [{ top_p: 1 }, '`top_p` must be > 0.0 and < 1.0'],
  [{ typical_p: 1 }, '`typical_p` must be > 0.0 and < 1.0'],
  [{ top_k: 0 }, '`top_k` must be strictly positive'],
  [{ max_new_tokens: 0 }, '`max_new_tokens` must be strictly positive'],
  [{ stop: ['a', 'b', 'c', 'd', 'e'] }, '`stop` supports up to 4 stop sequences. Given: 5'],
  [{ top_n_tokens: 6 }, '`top_n_tokens` must be >= 0 and <= 5. Given: 6'],
  [{ truncate: 0 }, '`truncate` must be strictly positive and less than 4095. Given: 0'],
  [{ grammar: { type: 'json', value: {} } }, "grammar is not valid: Grammar must have a 'properties' field"],
  // Several mistakes: the first in TGI's order is told.
  [{ top_k: 0, temperature: 0, max_new_tokens: 0 }, '`temperature` must be strictly positive'],
  [{ top_k: 0, best_of: 3 }, '`best_of` != 1 is not supported when streaming tokens'],
] as const

test.for(messages)('%j is refused inside a 200', async ([parameters, message], { simulate }) => {
  expect(await generate(await simulate(), 'x', parameters)).toEqual(refused(message))
})

test('an empty prompt is refused', async ({ simulate }) => {
  expect(await generate(await simulate(), '')).toEqual(refused('`inputs` cannot be empty'))
})

test('the rule on the total comes before the rule on the input and looks at the slice', async ({
  simulate,
}) => {
  const simulator = await simulate({ maxInputTokens: 4, maxTotalTokens: 2000 })
  expect(await generate(simulator, ' a a a a a a', { max_new_tokens: 1_000_000 })).toEqual(
    refused('`inputs` must have less than 4 tokens. Given: 7'),
  )
  const tight = await simulate({ maxInputTokens: 4, maxTotalTokens: 10 })
  expect(await generate(tight, ' a a a a a a', { max_new_tokens: 1_000_000 })).toEqual(
    refused(
      '`inputs` tokens + `max_new_tokens` must be <= 10. Given: 7 `inputs` tokens and 1024 `max_new_tokens`',
    ),
  )
})

test('a prompt of exactly max_input_tokens is fine, and truncate keeps the last tokens', async ({
  simulate,
}) => {
  const simulator = await simulate({ maxInputTokens: 4, maxTotalTokens: 2000 })
  const exact = await generate(simulator, ' a a a', { max_new_tokens: 1 })
  expect(exact).toMatchObject([{ details: { input_length: 4 } }])
  const cut = await generate(simulator, ' a a a a a river stone', { max_new_tokens: 5, truncate: 2 })
  const alone = await generate(simulator, ' river stone', { max_new_tokens: 5, truncate: 2 })
  expect(cut.at(-1)).toMatchObject({ details: { input_length: 2 } })
  expect(cut).toEqual(alone)
})

test('overload wins over validation, but not over what a stream is refused for', async ({ simulate }) => {
  const simulator = await simulate({ faults: [{ kind: 'overloaded' }] })
  const overloaded = [{ error: 'Model is overloaded', error_type: 'overloaded' }]
  expect(await generate(simulator, '', { temperature: 0 })).toEqual(overloaded)
  expect(await generate(simulator, '', { best_of: 2 })).toEqual(
    refused('`best_of` != 1 is not supported when streaming tokens'),
  )
})

test.for([
  [{ best_of: 3 }, '`best_of` must be > 0 and <= 2. Given: 3'],
  [{ best_of: 2 }, 'you must use sampling when `best_of` is > 1'],
  [{ best_of: 2, do_sample: true, seed: 1 }, '`seed` must not be set when `best_of` > 1'],
  [{ temperature: -1 }, '`temperature` must be strictly positive'],
] as const)('/generate refuses %j with 422', async ([parameters, message], { simulate }) => {
  const answer = await send(await simulate(), '/generate', { body: { inputs: 'x', parameters } })
  expect(answer.status).toBe(422)
  expect([answer.json()]).toEqual(refused(message))
})
