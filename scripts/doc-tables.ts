import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command, Option } from 'commander'
import { buildProgram } from '../src/cli/program.ts'
import { poolConfigSchema } from '../src/contract/pool-config.ts'

const DOCS = fileURLToPath(new URL('../docs/', import.meta.url))

/** The place of a generated table: `<!-- settings, made by npm run docs -->` … `<!-- end -->`. */
const PLACE = /(<!-- ([^\n]+), made by npm run docs -->\n)[^]*?(<!-- end -->)/g

/** Flags that most verbs have; docs/cli.md lists them once. */
const COMMON = new Set(['--pool', '--redis', '--prefix', '--log-level', '--help'])

/** Every page in `docs/` with generated tables, by path, with up-to-date tables. */
export async function pagesWithTables(): Promise<Map<string, string>> {
  const pages = new Map<string, string>()
  for (const name of await readdir(DOCS)) {
    if (!name.endsWith('.md')) continue
    const text = await readFile(join(DOCS, name), 'utf8')
    const filled = fillTables(text)
    if (text.match(PLACE) !== null) pages.set(join(DOCS, name), filled)
  }
  return pages
}

function fillTables(markdown: string): string {
  return markdown.replaceAll(PLACE, (_, begin: string, what: string, end: string) => {
    const flags = /^flags of (.+)$/.exec(what)?.[1]
    if (flags === undefined && what !== 'settings') throw new Error(`docs: no table is made for "${what}"`)
    return `${begin}\n${flags === undefined ? settings() : flagsOf(flags)}\n\n${end}`
  })
}

function settings(): string {
  const rows = Object.entries(poolConfigSchema.shape).map(([name, schema]) => [
    `\`${name}\``,
    `\`${JSON.stringify(schema.parse(undefined)).replaceAll('"', '')}\``,
    schema.description ?? '',
  ])
  return table(['setting', 'default', 'meaning'], rows)
}

/** The flags of a verb, e.g. `pool create`, without those of {@link COMMON}. */
function flagsOf(path: string): string {
  let command: Command | undefined = buildProgram()
  for (const name of path.split(' ')) command = command?.commands.find((other) => other.name() === name)
  if (command === undefined) throw new Error(`docs: there is no verb "${path}"`)
  const own = command.options.filter(({ long, hidden }) => !COMMON.has(long ?? '') && !hidden)
  if (own.length === 0) return 'No flags of its own.'
  return table(
    ['flag', 'meaning', 'default', 'variable'],
    own.map((option) => [
      `\`${option.flags}\``,
      descriptionOf(option),
      defaultOf(option),
      option.envVar === undefined ? '' : `\`${option.envVar}\``,
    ]),
  )
}

const IN_TEXT = / ?\(default: ([^()]*)\)/

function descriptionOf({ description, argChoices }: Option): string {
  const choices = argChoices === undefined ? '' : ` (${argChoices.join(', ')})`
  return description.replace(IN_TEXT, '') + choices
}

function defaultOf({ description, defaultValue, negate }: Option): string {
  const inText = IN_TEXT.exec(description)?.[1]
  if (inText !== undefined) return inText
  return defaultValue === undefined || negate ? '' : `\`${String(defaultValue)}\``
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [rowText(head), `|${'---|'.repeat(head.length)}`, ...rows.map(rowText)].join('\n')
}

function rowText(cells: readonly string[]): string {
  return `| ${cells.map(cellText).join(' | ')} |`
}

/** Escapes text for a table cell; outside code, nothing may be taken for HTML. */
function cellText(text: string): string {
  const safe = text.startsWith('`') ? text : text.replaceAll('<', '&lt;')
  return safe.replaceAll('|', String.raw`\|`)
}
