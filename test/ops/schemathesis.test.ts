/** Needs `python3` with `venv`, and PyPI for the first run: Schemathesis is installed under node_modules/.cache. */
import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished } from 'vitest'
import { MAX_WAIT_S } from '../../src/gateway/wait-time.ts'
import { keyFile } from '../gateway/key-file.ts'
import { OPERATIONS } from '../gateway/operations.ts'
import { test } from '../gateway/stage.ts'
import { must, run, tempFolder } from './run.ts'

const VERSION = '4.32.5'
const VENV = fileURLToPath(new URL(`../../node_modules/.cache/schemathesis-${VERSION}`, import.meta.url))
/** Not npm's: knip must not look for it there. */
const PYTHON = 'python3'

const HOOKS = fileURLToPath(new URL('.', import.meta.url))

/**
 * Valid data is accepted: 404, 409 and 410 are about what other requests did, and an outage or a full queue would hide what is wrong, so they fail.
 * What a schema cannot say is in schemathesis_hooks.py.
 */
const CONFIG = `
hooks = "schemathesis_hooks"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "404", "409", "410"]
`

/**
 * It builds arrays just below and above each bound, messages in messages: with 10,000 items it takes gigabytes and minutes.
 * test/contract tries these bounds.
 */
const MANY_ITEMS = 1000
const isHuge = (key: string, value: unknown) => key === 'maxItems' && Number(value) > MANY_ITEMS

/** Longer than a request may wait for the end of its job. */
const REQUEST_TIMEOUT_S = MAX_WAIT_S + 10

/** The same requests each time, so that a fault that is found is found again; another seed looks further. */
const SEED = process.env['SCHEMATHESIS_SEED'] ?? '1'

const KEY = 'k'.repeat(32)
const FLAGS = [
  '--phases=examples,coverage,fuzzing,stateful',
  '--checks=all',
  '--max-examples=50',
  `--seed=${SEED}`,
  `--request-timeout=${REQUEST_TIMEOUT_S}`,
  `--header=Authorization: Bearer ${KEY}`,
  '--continue-on-failure',
  '--no-color',
] as const

async function installed(): Promise<string> {
  const program = join(VENV, 'bin', 'schemathesis')
  const isThere = await access(program).then(
    () => true,
    () => false,
  )
  if (!isThere) {
    await must(PYTHON, ['-m', 'venv', VENV], { cwd: '/' })
    await must(join(VENV, 'bin', 'pip'), ['install', '--quiet', `schemathesis==${VERSION}`], { cwd: VENV })
  }
  return program
}

describe('Schemathesis', () => {
  test('finds nothing that the OpenAPI document does not say', async ({ lab, gateway }) => {
    const program = await installed()
    // The document's own bounds: it knows no pool's settings.
    const longest = Math.floor(Number.MAX_SAFE_INTEGER / 4)
    const bounds = { max_deadline_ms: longest, max_retention_ms: longest, max_max_new_tokens: 2 ** 32 - 1 }
    await lab.client(bounds, 'main')
    await lab.worker(await lab.replica(), { pool: 'main' })
    const gate = await gateway({ bearerFile: await keyFile(`fuzz+operate ${KEY}`) })
    const { path: cwd, done } = await tempFolder()
    onTestFinished(done)
    const config = join(cwd, 'schemathesis.toml')
    await writeFile(config, CONFIG)
    const served = await (await fetch(`${gate.url}/openapi.json`)).text()
    const openapi = JSON.parse(served, (key, value: unknown) =>
      isHuge(key, value) ? undefined : value,
    ) as object
    const document = join(cwd, 'openapi.json')
    // This gateway has keys, so each route that takes one refuses a request without.
    await writeFile(document, JSON.stringify({ ...openapi, security: [{ bearer: [] }] }))
    const { status, stdout, stderr } = await run(
      program,
      ['--config-file', config, 'run', document, '--url', gate.url, ...FLAGS],
      { cwd, env: { PYTHONPATH: HOOKS, PYTHONDONTWRITEBYTECODE: '1' } },
    )
    if (status !== 0) throw new Error(`Schemathesis ended with ${status}:\n${stdout}\n${stderr}`)
    expect(stdout).toContain(`Tested: ${OPERATIONS.length}\n`)
    for (const phase of ['Examples', 'Coverage', 'Fuzzing', 'Stateful'])
      expect(stdout).toMatch(new RegExp(`✅  ${phase} `))
    expect(stdout).not.toContain('API Links:    0 covered')
    expect(gate.lines.filter((line) => line['level'] === 50)).toEqual([])
  })
})
