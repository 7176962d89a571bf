/** Writes schemas/ anew from the contract: `npm run schemas`. A test holds the two equal. */
import { mkdir, writeFile } from 'node:fs/promises'
import { buildSchemas, formatSchema } from './build-schemas.ts'

const folder = new URL('../schemas/', import.meta.url)
await mkdir(folder, { recursive: true })
for (const [name, schema] of Object.entries(buildSchemas())) {
  await writeFile(new URL(name, folder), formatSchema(schema))
}
