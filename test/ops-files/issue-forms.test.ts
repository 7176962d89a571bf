import { readFile, readdir } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'

const FOLDER = new URL('../../.github/ISSUE_TEMPLATE/', import.meta.url)
const REPOSITORY = 'https://github.com/tgi-pool/tgi-pool'

const text = z.string().min(1)
const id = z.string().regex(/^[a-zA-Z0-9_-]+$/)
const validations = z.strictObject({ required: z.boolean() }).optional()

/**
 * GitHub ignores a form that has a key which it does not know, without a word, so every object is strict:
 * docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests/syntax-for-githubs-form-schema
 */
const formSchema = z.strictObject({
  name: text,
  description: text,
  labels: z.array(text).optional(),
  body: z
    .array(
      z.discriminatedUnion('type', [
        z.strictObject({ type: z.literal('markdown'), attributes: z.strictObject({ value: text }) }),
        z.strictObject({
          type: z.literal('textarea'),
          id,
          attributes: z.strictObject({
            label: text,
            description: text.optional(),
            placeholder: text.optional(),
            render: text.optional(),
          }),
          validations,
        }),
        z.strictObject({
          type: z.literal('input'),
          id,
          attributes: z.strictObject({
            label: text,
            description: text.optional(),
            placeholder: text.optional(),
          }),
          validations,
        }),
      ]),
    )
    .min(1),
})

const configSchema = z.strictObject({
  blank_issues_enabled: z.boolean(),
  contact_links: z.array(z.strictObject({ name: text, url: z.url(), about: text })),
})

const read = async (name: string): Promise<unknown> => parse(await readFile(new URL(name, FOLDER), 'utf8'))
const FORMS = (await readdir(FOLDER)).filter((name) => name !== 'config.yml')

describe.each(FORMS)('%s', (name) => {
  test('is a form that GitHub shows', async () => {
    expect(formSchema.safeParse(await read(name)).error).toBeUndefined()
  })

  test('has an id and a label for each field only once', async () => {
    const fields = formSchema.parse(await read(name)).body.filter((field) => field.type !== 'markdown')
    expect(fields.length).toBeGreaterThan(0)
    for (const of of [fields.map((field) => field.id), fields.map(({ attributes }) => attributes.label)])
      expect(new Set(of).size).toBe(of.length)
  })
})

test.each([
  ['a key that GitHub does not know', { name: 'a', description: 'b', title_: 'c', body: [] }],
  [
    'a field without a label',
    { name: 'a', description: 'b', body: [{ type: 'input', id: 'x', attributes: {} }] },
  ],
  ['no field', { name: 'a', description: 'b', body: [] }],
])('a form with %s is refused', (_, form) => {
  expect(formSchema.safeParse(form).success).toBe(false)
})

test('a bug report asks for what a maintainer needs first', async () => {
  const { body } = formSchema.parse(await read('bug.yml'))
  const required = body.flatMap((field) =>
    field.type !== 'markdown' && field.validations?.required === true ? [field.id] : [],
  )
  expect(required).toEqual(['happened', 'expected', 'version', 'node', 'redis', 'engine'])
  expect(JSON.stringify(body)).toContain('tgi-pool doctor --json')
})

test('every link leads to the repository of package.json', async () => {
  const manifest = JSON.parse(await readFile(new URL('../../package.json', FOLDER), 'utf8')) as {
    repository: { url: string }
  }
  expect(manifest.repository.url).toBe(`git+${REPOSITORY}.git`)
  for (const { url } of configSchema.parse(await read('config.yml')).contact_links)
    expect(url.startsWith(REPOSITORY)).toBe(true)
})
