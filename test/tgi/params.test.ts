import { expect, test } from 'vitest'

import type { GenerationParameters } from '../../src/contract/parameters.ts'
import { parametersSchema } from '../../src/contract/parameters.ts'
import { toTgiParameters } from '../../src/tgi/params.ts'

const ALWAYS = { details: true, do_sample: false, seed: 5, max_new_tokens: 64 }

test.each<[string, GenerationParameters, Record<string, unknown>]>([
  ['nothing is greedy', {}, {}],
  [
    'the greedy profile of an orchestrator is plain greedy',
    { do_sample: false, temperature: 0, top_p: 1, top_k: 0, typical_p: 1 },
    {},
  ],
  [
    'temperature 0 is greedy whatever stands beside it',
    { do_sample: true, temperature: 0, top_k: 5, top_p: 0.5, typical_p: 0.5 },
    {},
  ],
  [
    'identities are left out',
    { do_sample: true, temperature: 1, top_p: 1, top_k: 0, typical_p: 1 },
    { do_sample: true },
  ],
  [
    'sampling values pass',
    { do_sample: true, temperature: 0.7, top_p: 0.9, top_k: 40, typical_p: 0.8 },
    { do_sample: true, temperature: 0.7, top_p: 0.9, top_k: 40, typical_p: 0.8 },
  ],
  ['a temperature alone passes', { temperature: 0.5 }, { temperature: 0.5 }],
  [
    'values that mean "off" elsewhere pass where they are legal',
    { top_n_tokens: 0, frequency_penalty: 0, repetition_penalty: 1 },
    { top_n_tokens: 0, frequency_penalty: 0, repetition_penalty: 1 },
  ],
  [
    'penalties, stops and the rest pass, greedy or not',
    {
      temperature: 0,
      repetition_penalty: 1.2,
      stop: ['END'],
      watermark: true,
      top_n_tokens: 2,
      adapter_id: 'lora',
      grammar: { type: 'regex', value: 'a+' },
    },
    {
      repetition_penalty: 1.2,
      stop: ['END'],
      watermark: true,
      top_n_tokens: 2,
      adapter_id: 'lora',
      grammar: { type: 'regex', value: 'a+' },
    },
  ],
  [
    'nulls are left out',
    {
      temperature: null,
      repetition_penalty: null,
      frequency_penalty: null,
      top_k: null,
      top_p: null,
      typical_p: null,
      max_new_tokens: null,
      seed: null,
      top_n_tokens: null,
      grammar: null,
      adapter_id: null,
    },
    {},
  ],
  [
    'what cannot work behind a queue is never sent',
    { best_of: 1, truncate: null, return_full_text: false, decoder_input_details: false, details: true },
    {},
  ],
  ["the caller's seed and limit win", { seed: 1, max_new_tokens: 2 }, {}],
])('%s', (_, parameters, sent) => {
  expect(toTgiParameters(parametersSchema.parse(parameters), 5, 64)).toEqual({ ...ALWAYS, ...sent })
})

test('every field that a job may carry is sent or left out on purpose', () => {
  const left = [
    'best_of',
    'return_full_text',
    'truncate',
    'details',
    'decoder_input_details',
    'do_sample',
    'seed',
    'max_new_tokens',
  ]
  const values: GenerationParameters = {
    temperature: 0.5,
    repetition_penalty: 1.1,
    frequency_penalty: 0.1,
    top_k: 1,
    top_p: 0.5,
    typical_p: 0.5,
    stop: [],
    watermark: false,
    top_n_tokens: 1,
    grammar: { type: 'regex', value: 'a' },
    adapter_id: 'x',
  }
  expect(Object.keys(parametersSchema.shape).toSorted()).toEqual([...Object.keys(values), ...left].toSorted())
  expect(Object.keys(toTgiParameters(values, 5, 64)).toSorted()).toEqual(
    [...Object.keys(values), ...Object.keys(ALWAYS)].toSorted(),
  )
})
