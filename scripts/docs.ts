/**
 * Generates the parts of `docs/` that come from the sources: `api.md` from the doc comments, `metrics.md` from the table of
 * families, and the tables of flags and settings in other pages. With `--check` it only reports whether all are up to date.
 *
 * npm run docs · npm run docs:check
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pagesWithTables } from './doc-tables.ts'

const TOOL = fileURLToPath(new URL('../tools/docs/', import.meta.url))

function apiPage(): string {
  const out = mkdtempSync(join(tmpdir(), 'tgi-pool-docs-'))
  try {
    const typedoc = join(TOOL, 'node_modules/typedoc/bin/typedoc')
    const flags = ['--options', join(TOOL, 'typedoc.json'), '--out', out, '--logLevel', 'Warn']
    execFileSync(process.execPath, [typedoc, ...flags], {
      cwd: TOOL,
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    const title = '# The library\n\nMade from the doc comments of `src/index.ts` by `npm run docs`.\n'
    return readFileSync(join(out, 'api.md'), 'utf8').replace(/^# .*\n/, title)
  } finally {
    rmSync(out, { recursive: true })
  }
}

function metricsPage(): string {
  const source = readFileSync(new URL('../src/metrics/own-families.ts', import.meta.url), 'utf8')
  const [head = ''] = source.split('*/')
  const text = head
    .replace(/^\/\*\*\n/, '')
    .replaceAll(/^ \* ?/gm, '')
    .trim()
  return `# The metrics\n\nMade from the head of \`src/metrics/own-families.ts\` by \`npm run docs\`.\n\n${text}\n`
}

const DOCS = fileURLToPath(new URL('../docs/', import.meta.url))

for (const [page, made] of [
  [join(DOCS, 'api.md'), apiPage()],
  [join(DOCS, 'metrics.md'), metricsPage()],
  ...(await pagesWithTables()),
] as const) {
  if (!process.argv.includes('--check')) {
    writeFileSync(page, made)
  } else if (readFileSync(page, 'utf8') !== made) {
    process.stderr.write(`${page} is out of date: run npm run docs\n`)
    process.exitCode = 1
  }
}
