import { readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyCheckout, lendPackages, must, run, tempFolder, tool } from './run.ts'
import { serveOneJob } from './serve-one-job.ts'

/** The package as npm would publish it, installed into an empty project. */
let project = ''
let installed = ''
let packed: { readonly filename: string; readonly files: readonly { readonly path: string }[] }
let tarball = ''
const undo: (() => Promise<void>)[] = []

beforeAll(async () => {
  const [source, target] = [await tempFolder(), await tempFolder()]
  undo.push(source.done, target.done)
  const manifests = [
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'README.md',
    'CHANGELOG.md',
    'LICENSE',
  ]
  await copyCheckout([...manifests, 'src', 'workers', 'schemas'], source.path)
  await lendPackages(source.path)
  await must('npm', ['run', 'build', '--ignore-scripts'], { cwd: source.path })
  const told = JSON.parse(
    await must('npm', ['pack', '--json', '--ignore-scripts'], { cwd: source.path }),
  ) as [typeof packed]
  packed = told[0]
  tarball = join(source.path, packed.filename)
  project = target.path
  await writeFile(join(project, 'package.json'), '{ "name": "empty", "private": true, "type": "module" }')
  await must('npm', ['install', '--no-audit', '--no-fund', tarball], { cwd: project })
  installed = join(project, 'node_modules', 'tgi-pool')
})

afterAll(async () => {
  for (const step of undo.toReversed()) await step()
})

test('it can be imported, and gives what the README says', async () => {
  const script = `import * as door from 'tgi-pool'; console.log(Object.keys(door).includes('openPool'), typeof door.PoolError)`
  expect(await must(process.execPath, ['--input-type=module', '-e', script], { cwd: project })).toBe(
    'true function\n',
  )
  const schema = `import schema from 'tgi-pool/schemas/job.json' with { type: 'json' }; console.log(schema.type)`
  expect(await must(process.execPath, ['--input-type=module', '-e', schema], { cwd: project })).toBe(
    'object\n',
  )
})

test('its types serve a strict consumer that checks libraries, too', async () => {
  await writeFile(
    join(project, 'consumer.ts'),
    `import { openPool, PoolError } from 'tgi-pool'
import type { JobEvent, JobInput, Restart } from 'tgi-pool'
const job: JobInput = { inputs: 'hello', parameters: { max_new_tokens: 5 } }
const pool = await openPool({ redisUrl: 'redis://127.0.0.1:6379', pool: 'p' })
const { job_id } = await pool.enqueue(job)
for await (const event of pool.events(job_id)) {
  const seen: JobEvent | Restart = event
  if (seen.event === 'token') seen.data.t satisfies string
}
// @ts-expect-error a prompt is a text
await pool.enqueue({ inputs: 1 })
export const kind = (error: unknown): string | undefined => (error instanceof PoolError ? error.kind : undefined)
`,
  )
  await must('npm', ['install', '--no-audit', '--no-fund', '--no-save', '@types/node@24'], { cwd: project })
  const options = [
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--strict',
    '--skipLibCheck',
    'false',
    '--noEmit',
  ]
  const { status, stdout } = await run(tool('tsc'), [...options, '--types', 'node', 'consumer.ts'], {
    cwd: project,
  })
  expect(stdout).toBe('')
  expect(status).toBe(0)
})

test('its command says its version and has every verb of the checkout', async () => {
  const { version } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
    version: string
  }
  expect(await must('npx', ['--no-install', 'tgi-pool', '--version'], { cwd: project })).toBe(`${version}\n`)
  const main = new URL('../../src/cli/main.ts', import.meta.url).pathname
  expect(await must('npx', ['--no-install', 'tgi-pool', '--help'], { cwd: project })).toBe(
    await must(process.execPath, [main, '--help'], { cwd: project }),
  )
})

test('its simulator, its worker and its command do a job on a real Redis', async () => {
  expect(await serveOneJob({ cwd: project, root: 'node_modules/tgi-pool/dist' })).not.toBe('')
})

test('every process of workers/ is in it', async () => {
  const workers = await readdir(new URL('../../workers/', import.meta.url))
  const paths = packed.files.map(({ path }) => path)
  for (const worker of workers) expect(paths).toContain(`dist/workers/${worker.replace('.ts', '.js')}`)
})

test('it holds what runs and what describes it: no sources, no tests, no tools', () => {
  for (const { path } of packed.files) {
    expect(path).toMatch(
      /^(dist\/(src|workers)\/.*\.(js|d\.ts|lua|json)|schemas\/.*\.json|[A-Z]+(\.md)?|package\.json)$/,
    )
  }
})

test('it brings no Node of its own, and with everything it needs it is below 40 MB', async () => {
  const commands = await readdir(join(project, 'node_modules', '.bin'))
  expect(commands).toContain('tgi-pool')
  expect(commands).not.toContain('node')
  const bytes = await sizeOf(join(project, 'node_modules'), ['@types', 'undici-types'])
  console.info(
    `installed: ${(bytes / 1e6).toFixed(1)} MB; the package itself: ${((await sizeOf(installed)) / 1e6).toFixed(2)} MB`,
  )
  expect(bytes).toBeLessThan(40e6)
})

test('publint has nothing to say', async () => {
  const pkg = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as Record<string, unknown>
  const bytes = await readFile(tarball)
  const { messages } = await publint({
    strict: true,
    pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) },
  })
  expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([])
})

test('npm audit knows nothing against it', async ({ skip }) => {
  const { stdout } = await run('npm', ['audit', '--omit=dev', '--json'], { cwd: project })
  const report = JSON.parse(stdout) as { vulnerabilities?: Record<string, unknown>; message?: string }
  if (report.vulnerabilities === undefined) return skip(`the registry answers no audits: ${report.message}`)
  expect(Object.keys(report.vulnerabilities)).toEqual([])
})

/** The bytes of all files below a folder, without those of some. */
async function sizeOf(folder: string, without: readonly string[] = []): Promise<number> {
  let bytes = 0
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (without.includes(entry.name)) continue
    if (entry.isDirectory()) bytes += await sizeOf(path, without)
    else if (entry.isFile()) bytes += (await stat(path)).size
  }
  return bytes
}
