import { readFile, writeFile } from 'node:fs/promises'
import { expect } from 'vitest'
import { rightsOf } from './rights.ts'
import { ROLES, test } from './stage.ts'
import type { Role } from './stage.ts'

/**
 * ops/rights.md says what each role may do, key by key. Here every command that the server knows is tried as every role on
 * every kind of key, and the document must say the same: `UPDATE_RIGHTS=1` writes it anew.
 */
const DOCUMENT = new URL('../../ops/rights.md', import.meta.url)

/** A role's part of the document. */
function tableOf(rights: ReadonlyMap<string, string[]>): string {
  const rows = Map.groupBy(rights, ([, names]) => names.join(', '))
  const lines = [...rows].map(([names, kinds]) => `| ${kinds.map(([kind]) => kind).join(', ')} | ${names} |`)
  return ['| on | may run |', '|---|---|', ...lines].join('\n')
}

/** The document with a role's table in its place. */
function withTable(text: string, role: Role, table: string): string {
  const place = new RegExp(`(<!-- rights of ${role}, .*-->\n)[^]*?(<!-- end -->)`)
  expect(text).toMatch(place)
  return text.replace(place, (_, begin: string, end: string) => `${begin}\n${table}\n\n${end}`)
}

test.for(ROLES)('ops/rights.md says what a %s may do, no more and no less', async (role, { acl }) => {
  const text = await readFile(DOCUMENT, 'utf8')
  const expected = withTable(text, role, tableOf(await rightsOf(acl, role, 'p')))
  if (process.env['UPDATE_RIGHTS'] !== undefined) await writeFile(DOCUMENT, expected)
  else expect(text).toBe(expected)
})
