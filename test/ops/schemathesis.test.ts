/** Needs `python3` with `venv`, and PyPI for the first run: Schemathesis is installed under node_modules/.cache. */
import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished } from 'vitest'
import { test } from '../gateway/stage.ts'
import { must, run, tempFolder } from './run.ts'

const VERSION = '4.32.5'
const VENV = fileURLToPath(new URL(`../../node_modules/.cache/schemathesis-${VERSION}`, import.meta.url))
/** Not npm's: knip must not look for it there. */
const PYTHON = 'python3'

/**
 * That two ids must be the same is more than a schema can say. And Schemathesis 4.32 sends `Last-Event-ID: 0` as valid, whatever the schema says.
 */
const CONFIG = `
[[operations]]
include-name = "POST /v1/jobs"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "GET /v1/jobs/{id}/events"
checks.positive_data_acceptance.enabled = false
`

/** It builds arrays just below and above each bound, messages in messages: with these it took gigabytes. Other tests try them. */
const MANY_ITEMS = 1000
const isHuge = (key: string, value: unknown) => key === 'maxItems' && Number(value) > MANY_ITEMS

const FLAGS = ['--max-examples', '40', '--request-timeout', '20', '--no-color'] as const

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
    await lab.client({}, 'main')
    await lab.worker(await lab.replica(), { pool: 'main' })
    const gate = await gateway()
    const { path: cwd, done } = await tempFolder()
    onTestFinished(done)
    const config = join(cwd, 'schemathesis.toml')
    await writeFile(config, CONFIG)
    const served = await (await fetch(`${gate.url}/openapi.json`)).text()
    const openapi: unknown = JSON.parse(served, (key, value: unknown) =>
      isHuge(key, value) ? undefined : value,
    )
    const document = join(cwd, 'openapi.json')
    await writeFile(document, JSON.stringify(openapi))
    const { status, stdout, stderr } = await run(
      program,
      ['--config-file', config, 'run', document, '--url', gate.url, ...FLAGS],
      { cwd },
    )
    if (status !== 0) throw new Error(`Schemathesis ended with ${status}:\n${stdout}\n${stderr}`)
    expect(stdout).toContain('Tested: 10')
    expect(gate.lines.filter((line) => line['level'] === 50)).toEqual([])
  })
})
