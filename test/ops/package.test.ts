import { readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cloneCheckout, emptyProject, packClone } from './pack-checkout.ts'
import type { Packed } from './pack-checkout.ts'
import { must, run, tempFolder, tool } from './run.ts'
import { serveOneJob } from './serve-one-job.ts'

/** The package as npm would publish it, installed into an empty project; the same from git; and Nodes to try them on. */
let project = ''
let gitProject = ''
let installed = ''
let checkout = ''
let nodes = ''
let packed: Packed
let tarball = ''
const undo: (() => Promise<void>)[] = []

const QUIET = ['--no-audit', '--no-fund', '--loglevel=error']

beforeAll(async () => {
  const [source, target] = [await tempFolder(), await tempFolder()]
  undo.push(source.done, target.done)
  checkout = source.path
  await cloneCheckout(checkout)
  packed = await packClone(checkout)
  tarball = join(checkout, packed.filename)
  project = await emptyProject(join(target.path, 'tarball'))
  await must('npm', ['install', ...QUIET, tarball], { cwd: project })
  installed = join(project, 'node_modules', 'tgi-pool')
  gitProject = await emptyProject(join(target.path, 'git'))
  await must('npm', ['install', ...QUIET, `git+file://${checkout}`], { cwd: gitProject })
  nodes = await emptyProject(join(target.path, 'nodes'))
  const binary = `npm:node-linux-${process.arch}`
  await must(
    'npm',
    ['install', ...QUIET, `node18@${binary}@18.20.8`, `node20@${binary}@20.19.0`, `node22@${binary}@22.19.0`],
    { cwd: nodes },
  )
})

afterAll(async () => {
  for (const step of undo.toReversed()) await step()
})

/** A Node of that major version. */
function nodeOf(major: 18 | 20 | 22 | 24): string {
  return major === 24 ? tool('node') : join(nodes, 'node_modules', `node${major}`, 'bin', 'node')
}

const IMPORT = `import { openPool } from 'tgi-pool'; console.log(typeof openPool)`

describe.each(['tarball', 'git'] as const)('installed from %s', (from) => {
  const place = () => (from === 'git' ? gitProject : project)

  test.each([22, 24] as const)('Node %i has its help, its library and its demo', async (major) => {
    const [node, cwd] = [nodeOf(major), place()]
    const bin = join('node_modules', '.bin', 'tgi-pool')
    expect(await must(node, [bin, '--help'], { cwd })).toContain('Usage: tgi-pool')
    expect(await must(node, ['--input-type=module', '-e', IMPORT], { cwd })).toBe('function\n')
    const required = `console.log(typeof require('tgi-pool').openPool)`
    expect(await must(node, ['--input-type=commonjs', '-e', required], { cwd })).toBe('function\n')
    await must(node, [bin, 'demo'], { cwd })
  })

  test.each([18, 20] as const)('Node %i is refused in one line by command and library', async (major) => {
    const [node, cwd] = [nodeOf(major), place()]
    const line = /tgi-pool: expected Node 22\.19 or newer, got [\d.]+ \(.+\)\. Install a newer Node: \S+/
    const command = await run(node, [join('node_modules', '.bin', 'tgi-pool'), 'demo'], { cwd })
    expect(command.stderr).toMatch(new RegExp(`^${line.source}\n$`))
    expect(command.status).toBe(2)
    const library = await run(node, ['--input-type=module', '-e', IMPORT], { cwd })
    expect(library.stderr).toMatch(line)
    expect(library.stderr).not.toMatch(/^ +at |SyntaxError/m)
    expect(library.status).toBe(1)
  })
})

test('a clone runs its command by npx, without a build', async () => {
  const { path, done } = await tempFolder()
  undo.push(done)
  await cloneCheckout(path)
  await must('npm', ['ci', ...QUIET, '--ignore-scripts'], { cwd: path })
  const { version } = JSON.parse(await readFile(join(path, 'package.json'), 'utf8')) as { version: string }
  expect(await must('npx', ['tgi-pool', '--version'], { cwd: path })).toBe(`${version}\n`)
})

test('an install in a checkout without TypeScript goes through', async () => {
  const { path, done } = await tempFolder()
  undo.push(done)
  await cloneCheckout(path)
  await must('npm', ['ci', ...QUIET, '--omit=dev'], { cwd: path })
  expect(await readdir(path)).not.toContain('dist')
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

test('it holds every page of docs/, and the picture', async () => {
  const pages = await readdir(new URL('../../docs/', import.meta.url))
  const paths = packed.files.map(({ path }) => path)
  for (const page of pages) if (!page.endsWith('.json')) expect(paths).toContain(`docs/${page}`)
})

test('it holds what runs and what describes it: no sources, no tests, no tools', () => {
  for (const { path } of packed.files) {
    expect(path).toMatch(
      /^(bin\/tgi-pool\.cjs|dist\/(src|workers)\/.*\.(js|d\.ts|lua|json)|schemas\/.*\.json|docs\/[\w.-]+\.(md|svg)|[A-Z]+(\.md)?|package\.json)$/,
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
