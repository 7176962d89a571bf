import { readFile, readdir } from 'node:fs/promises'
import { validateWorkflow } from '@action-validator/core'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'

const ROOT = new URL('../../', import.meta.url)
const FOLDER = new URL('.github/workflows/', ROOT)

/** What the tests read of a workflow; the schema checks the rest. */
interface Workflow {
  readonly on: Readonly<Record<string, unknown>>
  readonly permissions: unknown
  readonly concurrency: { readonly 'cancel-in-progress'?: unknown }
  readonly jobs: Readonly<Record<string, Job>>
}

interface Job {
  readonly 'timeout-minutes'?: number
  readonly permissions?: unknown
  readonly strategy?: {
    readonly matrix: { readonly node: readonly string[]; readonly include: readonly { redis: string }[] }
  }
  readonly steps: readonly { readonly run?: string }[]
}

const read = (path: string) => readFile(new URL(path, ROOT), 'utf8')
const FILES = await Promise.all(
  (await readdir(FOLDER)).map(async (name) => [name, await read(`.github/workflows/${name}`)] as const),
)

describe.each(FILES)('%s', (name, text) => {
  const workflow = parse(text) as Workflow
  const jobs = Object.values(workflow.jobs)

  test('is a workflow by the schema; actionlint checks it further in test/ops', () => {
    expect(validateWorkflow(text).errors).toEqual([])
  })

  test('pins each action by a commit and names its version', () => {
    const uses = text.split('\n').filter((line) => /^\s*(- )?uses:/.test(line))
    expect(uses.length).toBeGreaterThan(0)
    for (const line of uses) expect(line).toMatch(/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
  })

  test('may only read the repository, and gets no secret', () => {
    expect(workflow.permissions).toEqual({ contents: 'read' })
    const more = jobs.flatMap(({ permissions }) => permissions ?? [])
    // npm needs to know which workflow publishes.
    expect(more).toEqual(name === 'release.yml' ? [{ contents: 'read', 'id-token': 'write' }] : [])
    expect(text).not.toMatch(/\bsecrets\b/)
    expect(Object.keys(workflow.on)).not.toContain('pull_request_target')
  })

  test('has a bound on the time of each job, and a new push ends an old run that publishes nothing', () => {
    for (const job of jobs) expect(job['timeout-minutes']).toBeGreaterThan(0)
    expect(workflow.concurrency['cancel-in-progress']).toBe(name !== 'release.yml')
  })
})

test.each([
  ['an unknown key', 'timeout-minutes', 'time-out'],
  ['a job without a runner', 'runs-on: ubuntu-24.04', 'name: no runner'],
])('the schema finds %s', async (_, from, to) => {
  const text = await read('.github/workflows/ci.yml')
  expect(validateWorkflow(text.replace(from, to)).errors).not.toEqual([])
})

test('the matrix has the oldest Node that package.json allows and the one that a checkout brings', async () => {
  const { jobs } = parse(await read('.github/workflows/ci.yml')) as Workflow
  const { engines } = JSON.parse(await read('package.json')) as { engines: { node: string } }
  const { optionalDependencies } = JSON.parse(await read('tools/node/package.json')) as {
    optionalDependencies: Record<string, string>
  }
  const brought = Object.values(optionalDependencies).map((version) => version.split('.')[0])
  expect(jobs['tests']?.strategy?.matrix.node).toEqual([engines.node.replace('>=', ''), brought[0]])
  expect(new Set(brought).size).toBe(1)
})

test('one job runs .ci/run as it is', async () => {
  const { jobs } = parse(await read('.github/workflows/ci.yml')) as Workflow
  const runs = Object.values(jobs).filter(({ steps }) => steps.some(({ run }) => run === 'bash .ci/run'))
  expect(runs.length).toBe(1)
})
