import { glob } from 'node:fs/promises'
import { ROOT } from './stage.ts'

/** Documents whose snippets need Node and Redis. */
export const DOCUMENTS = ['README.md', 'examples/node/README.md'] as const

/** Those whose snippets need Python and its packages, too; `npm run test:ops` runs them. */
export const PYTHON_DOCUMENTS = ['examples/python/README.md', 'examples/browser/README.md'] as const

/** Every document whose snippets must run. */
export async function findDocuments(): Promise<string[]> {
  const found = ['README.md']
  for await (const file of glob('examples/**/README.md', { cwd: ROOT })) found.push(file)
  return found
}
