/**
 * Makes `docs/api.md`, the API page, from the doc comments; with `--check` it only says whether the page is current.
 *
 * npm run api · npm run api:check
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const TOOL = fileURLToPath(new URL('../tools/docs/', import.meta.url))
const PAGE = new URL('../docs/api.md', import.meta.url)
const TITLE = `# The library

Made from the doc comments of \`src/index.ts\` by \`npm run api\`.
`

const out = mkdtempSync(join(tmpdir(), 'tgi-pool-api-'))
try {
  const typedoc = join(TOOL, 'node_modules/typedoc/bin/typedoc')
  const flags = ['--options', join(TOOL, 'typedoc.json'), '--out', out, '--logLevel', 'Warn']
  execFileSync(process.execPath, [typedoc, ...flags], { cwd: TOOL, stdio: ['ignore', 'inherit', 'inherit'] })
  const made = readFileSync(join(out, 'api.md'), 'utf8').replace(/^# .*\n/, TITLE)
  if (!process.argv.includes('--check')) {
    writeFileSync(PAGE, made)
  } else if (readFileSync(PAGE, 'utf8') !== made) {
    process.stderr.write('docs/api.md is not what the doc comments say: npm run api\n')
    process.exitCode = 1
  }
} finally {
  rmSync(out, { recursive: true })
}
