import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cloneCheckout, emptyProject, packClone } from './pack-checkout.ts'
import { must, run, tempFolder } from './run.ts'

/** Compilers and the types of Node that a user may have, of each major version that is in use. */
const COMPILERS = { '5.9': '5.9.3', 7: '7.0.2' } as const
const NODE_TYPES = { 22: '22.20.5', 24: '24.19.4', 26: '26.6.6' } as const

/** What a user writes beside the examples. */
const CONSUMER = `import { openPool, PoolError, SSE_HEADERS, sseResponse, toSse } from 'tgi-pool'
import type { JobEvent, JobInput, Restart } from 'tgi-pool'
import { Readable } from 'node:stream'
const job: JobInput = { inputs: 'hello', parameters: { max_new_tokens: 5 } }
const pool = await openPool({ pool: 'p' })
const { job_id } = await pool.enqueue({ ...job, priority: 'batch' })
for await (const event of pool.events(job_id)) {
  const seen: JobEvent | Restart = event
  if (seen.event === 'token') seen.data.t satisfies string
}
new Response(toSse(pool.events(job_id)), { headers: SSE_HEADERS })
Readable.fromWeb(toSse(pool.events(job_id)))
export const GET = (request: Request): Promise<Response> =>
  sseResponse(pool, job_id, { after: request.headers.get('last-event-id'), signal: request.signal })
export const kind = (error: unknown): string | undefined => (error instanceof PoolError ? error.kind : undefined)
`

/** Mistakes, one a line, and what the compiler has to say of each. */
const MISTAKES = [
  ['{}', "Argument of type '{}' is not assignable to parameter of type 'JobInput'"],
  [`{ inputs: 'x', messages: [] }`, "Type 'never[]' is not assignable to type 'undefined'"],
  [`{ inputs: 1 }`, "Type 'number' is not assignable to type 'string'"],
  [`{ prompt: 'x' }`, "'prompt' does not exist in type 'JobInput'"],
  [
    `{ inputs: 'x', parameters: { max_tokens: 5 } }`,
    "'max_tokens' does not exist in type 'GenerationParameters'",
  ],
] as const

let compilers = ''
const projects: Record<string, string> = {}
const undo: (() => Promise<void>)[] = []
const QUIET = ['--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts']

beforeAll(async () => {
  const [source, target] = [await tempFolder(), await tempFolder()]
  undo.push(source.done, target.done)
  await cloneCheckout(source.path)
  const tarball = join(source.path, (await packClone(source.path)).filename)
  compilers = await emptyProject(join(target.path, 'compilers'))
  const aliases = Object.entries(COMPILERS).map(([name, version]) => `ts-${name}@npm:typescript@${version}`)
  await must('npm', ['install', ...QUIET, ...aliases], { cwd: compilers })
  for (const [major, version] of Object.entries(NODE_TYPES)) {
    const cwd = await emptyProject(join(target.path, `node-${major}`))
    await must('npm', ['install', ...QUIET, tarball, `@types/node@${version}`], { cwd })
    await cp(join(source.path, 'examples', 'node'), cwd, { recursive: true })
    await writeFile(join(cwd, 'consumer.ts'), CONSUMER)
    const mistakes = MISTAKES.map(([job]) => `await pool.enqueue(${job})`)
    await writeFile(
      join(cwd, 'mistakes.ts'),
      [`import { openPool } from 'tgi-pool'; const pool = await openPool({ pool: 'p' })`, ...mistakes].join(
        '\n',
      ),
    )
    projects[major] = cwd
  }
})

afterAll(async () => {
  for (const step of undo.toReversed()) await step()
})

/** Compiles files as a strict user does who checks the types of libraries, too; with the default libraries, or without the DOM's. */
function compile(
  typescript: keyof typeof COMPILERS,
  node: keyof typeof NODE_TYPES,
  lib: readonly string[],
  files: readonly string[],
): ReturnType<typeof run> {
  const program = join(compilers, 'node_modules', `ts-${typescript}`, 'bin', 'tsc')
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false', '--noEmit']
  const options = ['--module', 'nodenext', '--target', 'es2024', '--types', 'node', '--pretty', 'false']
  return run(process.execPath, [program, ...options, ...strict, ...lib, ...files], {
    cwd: projects[node] ?? '',
  })
}

const EXAMPLES = ['event-source.ts', 'library.ts', 'over-http.ts', 'sse-server.ts']

describe.each(Object.keys(COMPILERS) as (keyof typeof COMPILERS)[])('with TypeScript %s', (typescript) => {
  const kinds = ([22, 24, 26] as const).flatMap((node) => [
    { node, libraries: 'default', lib: [] },
    { node, libraries: 'no DOM', lib: ['--lib', 'es2024'] },
  ])

  test.each(kinds)(
    'types of Node $node and $libraries libraries, the examples compile',
    async ({ node, lib }) => {
      const { stdout, status } = await compile(typescript, node, lib, ['consumer.ts', ...EXAMPLES])
      expect([stdout, status]).toEqual(['', 0])
    },
  )

  test('a mistake in a job is named in a line', async () => {
    const { stdout } = await compile(typescript, 24, [], ['mistakes.ts'])
    const found = stdout.split(/^mistakes\.ts/m).slice(1)
    expect(found.map((text) => /^\((\d+),/.exec(text)?.[1])).toEqual(
      MISTAKES.map((_, index) => `${index + 2}`),
    )
    for (const [index, [, expected]] of MISTAKES.entries()) expect(found[index]).toContain(expected)
  })
})
