import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect } from 'vitest'
import { PoolError } from '../../src/contract/error.ts'
import type { ErrorKind } from '../../src/contract/error.ts'
import { SEAL_ID } from '../../src/contract/stream-id.ts'
import { JOB_EXAMPLE } from '../../src/gateway/openapi-examples.ts'
import { buildOpenApi } from '../../src/gateway/openapi.ts'
import { call, expectError, post } from './calls.ts'
import { test } from './stage.ts'
import { OPERATIONS, statusesOf } from './operations.ts'

describe('the OpenAPI document', () => {
  test('is one, of version 3.1', async () => {
    const result = await new Validator().validate(buildOpenApi())
    expect(result).toMatchObject({ valid: true })
  })

  test('is served as it is committed', async ({ gateway }) => {
    const { url } = await gateway()
    const answer = await call(`${url}/openapi.json`)
    expect(answer.headers['content-type']).toBe('application/json')
    expect(answer.json).toEqual(JSON.parse(JSON.stringify(buildOpenApi())))
  })

  test('has examples that are what they say: requests that are accepted', async ({ lab, gateway }) => {
    const client = await lab.client({}, 'main')
    await lab.worker(await lab.replica(), { pool: 'main', replicaId: 'gpu-1' })
    await expect.poll(() => client.replicas()).toMatchObject([{ replica_id: 'gpu-1' }])
    const { url } = await gateway()
    const bodies = OPERATIONS.flatMap(({ method, path, bodies: examples }) =>
      examples.map((body) => ({ method, path, body })),
    )
    expect(bodies.length).toBe(4)
    let id = ''
    for (const { path, body } of bodies) {
      const filled = path.replace('{id}', id).replace('{pool}', 'main').replace('{replica}', 'gpu-1')
      const answer = await post(url + filled, body)
      expect(answer.status).toBeLessThan(300)
      if ('job_id' in answer.json) id = String(answer.json['job_id'])
    }
  })

  test('has examples of answers that fit their schemas', () => {
    const document = buildOpenApi()
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    ajv.addSchema(document, 'api')
    const { examples: shared } = document['components'] as { examples: Record<string, { value: unknown }> }
    let seen = 0
    for (const { responses } of OPERATIONS) {
      for (const { content } of Object.values(responses)) {
        for (const { schema, examples } of Object.values(content ?? {})) {
          const ref = schema['$ref']
          if (typeof ref !== 'string') continue
          const check = ajv.compile({ $ref: `api${ref}` })
          for (const example of Object.values(examples ?? {})) {
            const value = '$ref' in example ? shared[nameIn(example.$ref)]?.value : example.value
            seen += 1
            expect([check(value), check.errors]).toEqual([true, null])
          }
        }
      }
    }
    expect(seen).toBeGreaterThan(20)
  })

  test('says of each error code which status it comes with', () => {
    const { description } = buildOpenApi()['info'] as { description: string }
    const rows = [...description.matchAll(/^\| (\d+) \| (.+) \| (.+) \|$/gm)]
    const codes = rows.flatMap(([, status, list = '']) =>
      [...list.matchAll(/`(\w+)`/g)].map(([, code]) => [code, Number(status)]),
    )
    expect(codes.length).toBeGreaterThan(15)
    for (const [code, status] of codes)
      expect([code, new PoolError(code as ErrorKind, '').status]).toEqual([code, status])
    const listed = new Set(rows.map(([, status]) => status))
    for (const operation of OPERATIONS) {
      const errors = statusesOf(operation).filter((status) => status >= '400')
      expect(errors.filter((status) => !listed.has(status))).toEqual([])
    }
  })

  test.for([
    ['Last-Event-ID', ['', '0-0', '0-1', '1763812345678901-2', SEAL_ID]],
    [
      'Idempotency-Key',
      ['a', '"a"', '"', 'a"b', '1', 'meta', 'a b', 'k'.repeat(255), `"${'k'.repeat(255)}"`],
    ],
  ] as const)('has a pattern for %s that its route takes', async ([name, values], { lab, gateway }) => {
    await lab.client({}, 'main')
    const { url } = await gateway()
    const pattern = patternOf(name)
    for (const value of values) {
      expect([value, pattern.test(value)]).toEqual([value, true])
      const answer = await post(`${url}/v1/jobs`, JOB_EXAMPLE, { [name]: value })
      expect([value, answer.status]).not.toEqual([value, 400])
    }
  })

  test.for([
    ['Last-Event-ID', ['0', '00-1', '0-01', '9000000000000000-1', '9007199254740991-2', '0-1x', '-', '1']],
    ['Idempotency-Key', ['""', 'k'.repeat(256), `"${'k'.repeat(256)}"`, 'a\u00ffb', 'a\tb']],
  ] as const)(
    'has a pattern for %s that refuses what its route refuses',
    async ([name, values], { lab, gateway }) => {
      await lab.client({}, 'main')
      const { url } = await gateway()
      const pattern = patternOf(name)
      for (const value of values) {
        expect([value, pattern.test(value)]).toEqual([value, false])
        expectError(await post(`${url}/v1/jobs`, JOB_EXAMPLE, { [name]: value }), 400, 'INVALID_PARAMS')
      }
    },
  )
})

function nameIn(ref: string): string {
  return ref.split('/').at(-1) ?? ''
}

/** The pattern of a parameter of `POST /v1/jobs`. */
function patternOf(name: string): RegExp {
  const enqueue = OPERATIONS.find(({ method, path }) => method === 'POST' && path === '/v1/jobs')
  return new RegExp(
    String(enqueue?.parameters.find((parameter) => parameter.name === name)?.schema['pattern']),
  )
}
