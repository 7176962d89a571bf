import { readFile, readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { buildSchemas, formatSchema } from '../scripts/build-schemas.ts'
import { buildWireTypes } from '../scripts/build-wire-types.ts'

const folder = new URL('../schemas/', import.meta.url)

test('schemas/ holds what the contract says, no more and no less; npm run schemas writes it anew', async () => {
  const built = Object.fromEntries(
    Object.entries(buildSchemas()).map(([name, schema]) => [name, formatSchema(schema)]),
  )
  const names = await readdir(folder)
  const files = await Promise.all(
    names.map(async (name) => [name, await readFile(new URL(name, folder), 'utf8')] as const),
  )
  expect(Object.fromEntries(files)).toEqual(built)
})

test('the types say what the schemas say, comments included; npm run schemas writes them anew', async () => {
  const file = new URL('../src/contract/wire-types.ts', import.meta.url)
  expect(await readFile(file, 'utf8')).toBe(await buildWireTypes())
})

test('a producer may leave out every field that has a default', () => {
  const job = buildSchemas()['job.json']
  expect(job?.['required']).toBeUndefined()
  expect(job?.['additionalProperties']).toBe(false)
})
