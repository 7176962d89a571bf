import { expect, test } from 'vitest'

import { engineVersion, parseInfo } from '../../src/tgi/info.ts'

test('/info of v3.3.7 is read whole', () => {
  const sha = '0123456789abcdef0123456789abcdef01234567'
  expect(
    parseInfo({
      model_id: 'org/model',
      model_sha: 'abc',
      model_pipeline_tag: null,
      max_concurrent_requests: 128,
      max_best_of: 2,
      max_stop_sequences: 4,
      max_input_tokens: 4095,
      max_total_tokens: 4096,
      validation_workers: 2,
      max_client_batch_size: 4,
      router: 'text-generation-router',
      version: '3.3.6-dev0',
      sha,
      docker_label: 'sha-0123456',
    }),
  ).toEqual({
    modelId: 'org/model',
    modelSha: 'abc',
    version: '3.3.6-dev0',
    sha,
    dockerLabel: 'sha-0123456',
    maxConcurrentRequests: 128,
    maxInputTokens: 4095,
    maxTotalTokens: 4096,
    maxStopSequences: 4,
    maxTopNTokens: undefined,
    maxClientBatchSize: 4,
    routerName: 'text-generation-router',
  })
})

test('/info of v1.0 names its input limit otherwise', () => {
  expect(
    parseInfo({
      model_id: '/data/model',
      model_sha: null,
      model_dtype: 'torch.float16',
      model_device_type: 'cuda',
      max_input_length: 1024,
      max_total_tokens: 2048,
      waiting_served_ratio: 1.2,
      version: '1.0.1',
      sha: null,
      docker_label: null,
    }),
  ).toMatchObject({
    maxInputTokens: 1024,
    maxTotalTokens: 2048,
    maxConcurrentRequests: undefined,
    modelSha: null,
  })
})

test('three fields are an /info; strange values of others are unknown values', () => {
  expect(
    parseInfo({
      model_id: 'm',
      version: '9',
      max_total_tokens: 1,
      sha: '',
      docker_label: 7,
      max_concurrent_requests: 'many',
    }),
  ).toMatchObject({ sha: null, dockerLabel: null, maxConcurrentRequests: undefined })
})

test.each([
  ['no model', { version: '9', max_total_tokens: 1 }],
  ['no version', { model_id: 'm', max_total_tokens: 1 }],
  ['no limit, as the embeddings server', { model_id: 'm', version: '9', max_input_length: 512 }],
  ['nothing', undefined],
  ['text', 'text'],
  ['null', null],
])('%s is no /info', (_, value) => {
  expect(parseInfo(value)).toBeUndefined()
})

test.each([
  [
    { version: '3.3.6-dev0', sha: '0123456789abcdef', dockerLabel: 'sha-0123456-rocm' },
    '3.3.6-dev0+sha-0123456-rocm',
  ],
  [{ version: '3.3.6-dev0', sha: '0123456789abcdef', dockerLabel: null }, '3.3.6-dev0+0123456'],
  [{ version: '3.0.0', sha: null, dockerLabel: null }, '3.0.0'],
])('the engine version of %j is %s', (info, expected) => {
  expect(engineVersion(info)).toBe(expected)
})
