import type { Command } from 'commander'
import { expect, test } from 'vitest'
import { pagesWithTables } from '../../scripts/doc-tables.ts'
import { buildProgram } from '../../src/cli/program.ts'
import { AT_THE_DOOR, CODES } from '../../src/contract/codes.ts'
import { LOCAL_KINDS, PoolError } from '../../src/contract/error.ts'
import type { ErrorKind } from '../../src/contract/error.ts'
import { EVENT_SCHEMAS } from '../../src/contract/event.ts'
import { jobSchema } from '../../src/contract/job.ts'
import { parametersSchema } from '../../src/contract/parameters.ts'
import { DEFAULT_POOL_CONFIG } from '../../src/contract/pool-config.ts'
import { replicaEntrySchema } from '../../src/contract/replica-entry.ts'
import { MAX_BODY_BYTES, MAX_DEPTH, MAX_KEYS, MAX_VALUES } from '../../src/contract/shape.ts'
import { EXIT } from '../../src/cli/exit.ts'
import { GATEWAY_DEFAULTS } from '../../src/gateway/options.ts'
import { codesIn, readPage, rowsWith } from './markdown.ts'

/** Every verb, `pool` by its own verbs, with its command. */
function verbs(): Map<string, Command> {
  const found = new Map<string, Command>()
  const add = (commands: readonly Command[], before: string) => {
    for (const command of commands) {
      if (command.commands.length > 0) add(command.commands, `${before}${command.name()} `)
      else found.set(`${before}${command.name()}`, command)
    }
  }
  add(buildProgram().commands, '')
  return found
}

test('tables of flags and settings are current (npm run docs makes them)', async () => {
  const pages = await pagesWithTables()
  expect(pages.size).toBeGreaterThan(0)
  for (const [path, made] of pages) expect(await readPage(`docs/${path.split('/').at(-1)}`)).toBe(made)
})

test('docs/cli.md lists every verb and describes its flags', async () => {
  const page = await readPage('docs/cli.md')
  const listed = rowsWith(page, 'verb').flatMap(({ verb = '' }) => codesIn(verb))
  const names = listed.map((text) => /^[a-z -]*[a-z]/.exec(text.replace(/ --.*/, ''))?.[0])
  expect(new Set(names)).toEqual(new Set(verbs().keys()))
  for (const [verb, command] of verbs()) {
    const flags = command.options.filter(({ long }) => long !== '--json' && long !== '--help')
    const common = ['--pool', '--redis', '--prefix', '--log-level']
    const own = flags.filter(({ long }) => !common.includes(long ?? ''))
    if (own.length > 0) expect(page).toContain(`<!-- flags of ${verb}, made`)
  }
})

test('docs/cli.md has every exit status', async () => {
  const rows = rowsWith(await readPage('docs/cli.md'), 'exit status')
  expect(rows.map((row) => Number(row['exit status']))).toEqual(Object.values(EXIT))
})

test('docs/configuration.md has every variable, with its flags and its default', async () => {
  const expected = new Map<string, { flags: Set<string>; value: unknown }>()
  for (const command of verbs().values()) {
    for (const { envVar, long, defaultValue } of command.options) {
      if (envVar === undefined) continue
      const known = expected.get(envVar) ?? { flags: new Set(), value: undefined }
      known.flags.add(long ?? '')
      expected.set(envVar, { ...known, value: known.value ?? defaultValue })
    }
  }
  const rows = rowsWith(await readPage('docs/configuration.md'), 'variable').filter(({ flag }) => flag !== '')
  const listed = rows.filter((row) => row['flag'] !== undefined)
  expect(listed.flatMap(({ variable = '' }) => codesIn(variable)).toSorted()).toEqual(
    [...expected.keys()].toSorted(),
  )
  for (const { variable = '', flag = '', meaning = '' } of listed) {
    const names = codesIn(variable)
    const flags = new Set(names.flatMap((name) => [...(expected.get(name)?.flags ?? [])]))
    expect(new Set(codesIn(flag))).toEqual(flags)
    for (const name of names) {
      const value = expected.get(name)?.value
      if (typeof value === 'string' || typeof value === 'number') expect(meaning, name).toContain(`${value}`)
    }
  }
})

test('docs/errors.md has every code, with the retry and the status of the code', async () => {
  const page = await readPage('docs/errors.md')
  const of = (heading: string) =>
    rowsWith(page, heading).map((row) => ({
      code: codesIn(row[heading] ?? '')[0] ?? '',
      retriable: row['retry?'] === 'yes',
      status: Number(row['HTTP status']),
    }))
  const reserved = [...page.matchAll(/`([A-Z_]+)` is reserved/g)].map(([, code]) => code)
  const ofJobs = of('`error` code')
  expect(ofJobs).toEqual(ofJobs.map(({ code }) => ({ code, ...CODES[code as keyof typeof CODES] })))
  // A call's error knows both by itself.
  const ofCalls = of('code')
  expect(ofCalls).toEqual(
    ofCalls.map(({ code }) => {
      const { retriable, status } = new PoolError(code as ErrorKind, '')
      return { code, retriable, status }
    }),
  )
  const all = new Set([...ofJobs, ...ofCalls].map(({ code }) => code))
  expect(new Set([...all, ...reserved])).toEqual(new Set(Object.keys({ ...CODES, ...LOCAL_KINDS })))
  for (const code of Object.keys(AT_THE_DOOR)) expect(ofCalls.map((row) => row.code)).toContain(code)
})

test('docs/jobs.md has every field and every parameter of a job', async () => {
  const page = await readPage('docs/jobs.md')
  const refused = [...page.matchAll(/^Unknown fields are refused\.([^]*?)\n\n/gm)].flatMap(([text]) =>
    codesIn(text),
  )
  const fields = rowsWith(page, 'field').flatMap(({ field = '' }) => codesIn(field))
  const names = Object.keys(jobSchema.shape)
  expect(fields.filter((name) => !names.includes(name))).toEqual([])
  expect(names.filter((name) => !fields.includes(name) && !refused.includes(name))).toEqual([])
  const parameters = page.slice(page.indexOf('## Parameters'), page.indexOf('## Ids'))
  for (const name of Object.keys(parametersSchema.shape)) expect(parameters).toContain(`\`${name}\``)
})

const comma = (value: number) => value.toLocaleString('en')
const firstNumber = (text: string) => Number(/[\d,]+/.exec(text)?.[0].replaceAll(',', ''))

test('docs/jobs.md has the bounds of a job', async () => {
  const rows = rowsWith(await readPage('docs/jobs.md'), 'maximum')
  const mostOf = (part: string) => rows.find((row) => row['part']?.includes(part))?.['maximum'] ?? ''
  expect(mostOf('the whole job')).toBe(
    `${MAX_BODY_BYTES / 1024 ** 2} MiB of JSON, ${comma(MAX_VALUES)} values in total, ${comma(MAX_KEYS)} fields in one object, ${MAX_DEPTH} levels`,
  )
  const { max_input_bytes, max_max_new_tokens, max_deadline_ms } = DEFAULT_POOL_CONFIG
  expect(mostOf('together')).toContain(comma(max_input_bytes))
  expect(mostOf('max_new_tokens')).toContain(comma(max_max_new_tokens))
  expect(mostOf('deadline_ms')).toContain(`${max_deadline_ms / 3_600_000} hours`)
  expect(mostOf('an HTTP request')).toContain(`${GATEWAY_DEFAULTS.maxBodyBytes / 1024 ** 2} MiB`)
  for (const [what, job] of Object.entries(OF_LENGTH)) {
    const most = firstNumber(mostOf(what))
    const accepted = [most, most + 1].map((length) => jobSchema.safeParse(job(length)).success)
    expect(accepted, what).toEqual([true, false])
  }
})

/** Jobs with as many or as much of something. */
const OF_LENGTH: Readonly<Record<string, (length: number) => object>> = {
  'parameters.stop': (length) => ({ inputs: 'x', parameters: { stop: Array.from({ length }, () => 's') } }),
  messages: (length) => ({ messages: Array.from({ length }, () => ({ role: 'user', content: 'x' })) }),
  'a regex': (length) => ({
    inputs: 'x',
    parameters: { grammar: { type: 'regex', value: 'a'.repeat(length) } },
  }),
}

test('docs/events.md has every event, and no field that none has', async () => {
  const rows = rowsWith(await readPage('docs/events.md'), 'event')
  expect(rows.map(({ event = '' }) => codesIn(event)[0])).toEqual(Object.keys(EVENT_SCHEMAS))
  for (const { event = '', data = '' } of rows) {
    const fields = Object.keys(EVENT_SCHEMAS[codesIn(event)[0] as keyof typeof EVENT_SCHEMAS].shape)
    expect(fields, event).toEqual(expect.arrayContaining(codesIn(data)))
  }
})

test('docs/http.md has every route', async () => {
  const rows = rowsWith(await readPage('docs/http.md'), 'route')
  const listed = rows.flatMap(({ route = '' }) => codesIn(route))
  const { paths } = JSON.parse(await readPage('schemas/openapi.json')) as {
    readonly paths: Readonly<Record<string, object>>
  }
  const served = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  )
  expect(new Set(listed)).toEqual(new Set(served))
})

test('docs/operating.md has every state of a replica', async () => {
  const rows = rowsWith(await readPage('docs/operating.md'), 'state')
  // Reserved: no replica is ever in it.
  const states = replicaEntrySchema.shape.state.options.filter((state) => state !== 'window')
  expect(rows.map(({ state = '' }) => codesIn(state)[0])).toEqual(states)
})
