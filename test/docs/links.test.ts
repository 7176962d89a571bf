import { access, glob } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, anchorsOf, readPage, withoutBlocks } from './markdown.ts'

/** Where the repository is on the web. */
const REPOSITORY = 'https://github.com/tgi-pool/tgi-pool'

function exclude(path: string): boolean {
  return /(^|\/)(node_modules|dist|\.git)$/.test(path)
}

async function pages(): Promise<string[]> {
  const found: string[] = []
  for await (const path of glob('**/*.md', { cwd: ROOT, exclude })) found.push(path)
  return found
}

/** Where the links and pictures of a page lead. */
function linksOf(markdown: string): string[] {
  const text = withoutBlocks(markdown).replaceAll(/`[^`\n]*`/g, (code) => code.replaceAll(/[[\]()<]/g, ''))
  const inline = [...text.matchAll(/\]\(([^()\s]+)(?: "[^"]*")?\)/g)]
  const html = [...text.matchAll(/\b(?:src|srcset|href)="([^"\s]+)"/g)]
  return [...inline, ...html].map(([, target = '']) => target)
}

async function faultOf(page: string, target: string): Promise<string | undefined> {
  if (target.startsWith(`${REPOSITORY}/blob/`) || target.startsWith(`${REPOSITORY}/tree/`))
    return 'expected a relative link to a file of the repository'
  if (/^[a-z]+:/i.test(target)) return undefined
  const [path = '', anchor] = target.split('#')
  const file = path === '' ? page : normalize(join(dirname(page), path))
  const exists = await access(join(ROOT, file)).then(
    () => true,
    () => false,
  )
  if (!exists) return `there is no ${file}`
  if (anchor === undefined || !file.endsWith('.md')) return undefined
  // typedoc links to rows of its tables, where GitHub leaves no anchor: such a link leads to the page.
  if (file === 'docs/api.md' && anchor.startsWith('property-')) return undefined
  return anchorsOf(await readPage(file)).has(anchor) ? undefined : `${file} has no heading for #${anchor}`
}

test('every link leads to a file, and every anchor to a heading', async () => {
  const faults: string[] = []
  let links = 0
  for (const page of await pages()) {
    for (const target of linksOf(await readPage(page))) {
      links += 1
      const fault = await faultOf(page, target)
      if (fault !== undefined) faults.push(`${page}: (${target}): ${fault}`)
    }
  }
  expect(faults).toEqual([])
  expect(links).toBeGreaterThan(100)
})

test('every page of docs/ is in its index, and the index in README.md', async () => {
  const index = linksOf(await readPage('docs/README.md'))
  for (const page of await pages()) {
    const name = /^docs\/([^/]+\.md)$/.exec(page)?.[1]
    if (name !== undefined && name !== 'README.md') expect(index).toContain(name)
  }
  expect(linksOf(await readPage('README.md'))).toContain('docs/README.md')
})

test('finds links and headings as GitHub does', async () => {
  expect(linksOf('a [b](c.md#d) ![e](f.svg "g") `[h](i)` <img src="j.svg">\n```sh\n[k](l)\n```\n')).toEqual([
    'c.md#d',
    'f.svg',
    'j.svg',
  ])
  expect([...anchorsOf('# A `b`: c!\n## A b c\n## [x](y) & z\n```sh\n# no\n```\n')]).toEqual([
    'a-b-c',
    'a-b-c-1',
    'x--z',
  ])
  expect(await faultOf('docs/README.md', 'nothing.md')).toContain('no docs/nothing.md')
  expect(await faultOf('docs/README.md', 'jobs.md#nothing')).toContain('#nothing')
})
