import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { extractSnippets } from './snippets.ts'
import { ROOT } from './stage.ts'

/** Documents whose snippets need Node, Redis and, in README.md, a Python without packages. */
export const DOCUMENTS = [
  'README.md',
  'docs/batches.md',
  'docs/cli.md',
  'docs/configuration.md',
  'docs/deploys.md',
  'docs/errors.md',
  'docs/events.md',
  'docs/getting-started.md',
  'docs/http.md',
  'docs/jobs.md',
  'docs/library.md',
  'examples/node/README.md',
] as const

/** Those whose snippets need packages of Python, or a browser; `npm run test:ops` runs them. */
export const PYTHON_DOCUMENTS = ['examples/python/README.md', 'examples/browser/README.md'] as const

/** Every document with snippets, all of which must run. */
export async function findDocuments(): Promise<string[]> {
  const found: string[] = []
  for await (const file of glob(['README.md', 'docs/*.md', 'examples/**/README.md'], { cwd: ROOT })) {
    if (extractSnippets(file, await readFile(join(ROOT, file), 'utf8')).length > 0) found.push(file)
  }
  return found
}
