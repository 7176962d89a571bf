import { access, readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { IMAGE_FLAGS } from '../../bench/support/weighed-process.ts'
import { readDockerfile } from './dockerfile.ts'

const ROOT = new URL('../../', import.meta.url)
const all = await readDockerfile()
const named = (name: string, stage?: string) =>
  all
    .filter((one) => one.name === name && (stage === undefined || one.stage === stage))
    .map(({ text }) => text)
/** What is copied from the checkout, by stage. */
const copied = all.filter(({ name, text }) => name === 'COPY' && !text.startsWith('--from='))
const sourcesOf = (text: string) => text.split(' ').slice(0, -1)

test('the base is a whole version of Node, the one the checkout is tested with, and nothing else', async () => {
  const manifest = JSON.parse(await readFile(new URL('tools/node/package.json', ROOT), 'utf8')) as {
    readonly optionalDependencies: Readonly<Record<string, string>>
  }
  const [base, ...others] = named('FROM')
  const [version] = Object.values(manifest.optionalDependencies)
  expect(base).toMatch(new RegExp(`^node:${version}-[a-z]+-slim(@sha256:[0-9a-f]{64})? AS base$`))
  const stages = new Set(all.map(({ stage }) => stage))
  for (const other of others) expect(stages).toContain(other.split(' ')[0])
})

test('the image runs as nobody special, and what it runs belongs to root', () => {
  expect(named('USER')).toEqual(['1000:1000'])
  const final = all.filter(({ stage }) => stage === 'final').map(({ name }) => name)
  // Everything is copied before, by root, and nothing is run after.
  expect(final.lastIndexOf('COPY')).toBeLessThan(final.indexOf('USER'))
  expect(final).not.toContain('RUN')
  expect(all.filter(({ text }) => text.includes('--chown'))).toEqual([])
})

test('packages are those of the lock, without their scripts, and the image has only what production needs', () => {
  const installs = named('RUN').filter((text) => text.includes('npm ci'))
  for (const install of installs) expect(install).toMatch(/--workspaces=false.*--ignore-scripts/)
  expect(named('RUN').join('\n')).not.toMatch(/npm (i|install)\b|curl|wget/)
  expect(named('RUN', 'production')).toEqual([expect.stringContaining('--omit=dev')])
  expect(named('COPY', 'final')).toContain('--from=production /app/node_modules node_modules')
  expect(named('ENV', 'final').join(' ')).toContain('NODE_ENV=production')
})

test('Node is run as the benches run it, and as the scripts of a checkout do', async () => {
  const flags = IMAGE_FLAGS.join(' ')
  expect(named('ENV', 'final').join(' ')).toContain(`NODE_OPTIONS="${flags}"`)
  const { scripts } = JSON.parse(await readFile(new URL('package.json', ROOT), 'utf8')) as {
    readonly scripts: Readonly<Record<string, string>>
  }
  expect(scripts['tgi-pool']).toBe(`exec node ${flags} src/cli/main.ts`)
  expect(await readFile(new URL('docs/operating.md', ROOT), 'utf8')).toContain(`NODE_OPTIONS="${flags}"`)
})

test('manifests are copied before sources, and never the whole checkout', () => {
  expect(
    copied.flatMap(({ text }) => sourcesOf(text)).filter((source) => /^\.?\/?$|\*/.test(source)),
  ).toEqual([])
  expect(copied.filter(({ stage }) => stage === 'manifests').flatMap(({ text }) => sourcesOf(text))).toEqual(
    expect.arrayContaining(['package.json', 'package-lock.json']),
  )
  const build = all.filter(({ stage }) => stage === 'build').map(({ name, text }) => `${name} ${text}`)
  expect(build.findIndex((line) => line.includes('npm ci'))).toBeLessThan(
    build.findIndex((line) => line.startsWith('COPY src')),
  )
})

test('every manifest of a workspace is there: npm compares them with the lock', async () => {
  const { workspaces } = JSON.parse(await readFile(new URL('package.json', ROOT), 'utf8')) as {
    readonly workspaces: readonly string[]
  }
  const manifests = named('COPY', 'manifests').flatMap(sourcesOf)
  for (const workspace of workspaces) expect(manifests).toContain(`${workspace}/package.json`)
})

test('what is copied exists, and .dockerignore lets it in', async () => {
  const ignore = (await readFile(new URL('.dockerignore', ROOT), 'utf8')).split('\n')
  expect(ignore.filter((line) => line !== '' && !line.startsWith('#'))[0]).toBe('*')
  for (const source of copied.flatMap(({ text }) => sourcesOf(text))) {
    await access(new URL(source, ROOT))
    const allowed = ignore.some((line) => line === `!${source}` || source.startsWith(`${line.slice(1)}/`))
    expect(allowed, source).toBe(true)
  }
})

test('it says what it runs as lists, so that signals reach Node', () => {
  expect(named('ENTRYPOINT')).toEqual(['["node"]'])
  expect(named('CMD')).toEqual(['["dist/src/cli/main.js", "--help"]'])
})
