/** Generates schemas/ and src/contract/wire-types.ts from the contract: `npm run schemas`. A test checks that they are up to date. */
import { mkdir, writeFile } from 'node:fs/promises'
import { buildSchemas, formatSchema } from './build-schemas.ts'
import { buildWireTypes } from './build-wire-types.ts'

const folder = new URL('../schemas/', import.meta.url)
await mkdir(folder, { recursive: true })
for (const [name, schema] of Object.entries(buildSchemas())) {
  await writeFile(new URL(name, folder), formatSchema(schema))
}
await writeFile(new URL('../src/contract/wire-types.ts', import.meta.url), await buildWireTypes())
