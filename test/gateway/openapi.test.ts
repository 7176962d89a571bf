import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect } from 'vitest'
import { buildOpenApi } from '../../src/gateway/openapi.ts'
import { call, post } from './calls.ts'
import { test } from './stage.ts'
import { OPERATIONS } from './operations.ts'

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
    await lab.client({}, 'main')
    const { url } = await gateway()
    const bodies = OPERATIONS.flatMap(({ method, path, bodies: examples }) =>
      examples.map((body) => ({ method, path, body })),
    )
    expect(bodies.length).toBe(3)
    let id = ''
    for (const { path, body } of bodies) {
      const answer = await post(url + path.replace('{id}', id), body)
      expect(answer.status).toBeLessThan(300)
      id = String(answer.json['job_id'])
    }
  })

  test('has examples of answers that fit their schemas', () => {
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    ajv.addSchema(buildOpenApi(), 'api')
    let seen = 0
    for (const { responses } of OPERATIONS) {
      for (const { content } of Object.values(responses)) {
        for (const { schema, examples } of Object.values(content ?? {})) {
          const ref = schema['$ref']
          if (typeof ref !== 'string') continue
          const check = ajv.compile({ $ref: `api${ref}` })
          for (const { value } of Object.values(examples ?? {})) {
            seen += 1
            expect([check(value), check.errors]).toEqual([true, null])
          }
        }
      }
    }
    expect(seen).toBeGreaterThan(20)
  })
})
