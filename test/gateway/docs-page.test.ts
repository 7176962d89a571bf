import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect } from 'vitest'
import { call } from './calls.ts'
import { OPERATIONS, statusesOf } from './operations.ts'
import { test } from './stage.ts'

/** The part of the page about one operation, by its heading. */
function sectionsOf(page: string): ReadonlyMap<string, string> {
  return new Map(
    [...page.matchAll(/<section id="[^"]*"><h3>(.*?)<\/h3>(.*?)<\/section>/gs)].map(
      ([, heading = '', body = '']) => [heading.replaceAll(/<[^>]*>/g, ''), body],
    ),
  )
}

function unescape(html: string): string {
  return html
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}

describe('/docs', () => {
  test('has contents that lead to every operation and every schema', async ({ gateway }) => {
    const { url } = await gateway()
    const { text } = await call(`${url}/docs`)
    const ids = [...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)
    expect(new Set(ids).size).toBe(ids.length)
    const links = [...text.matchAll(/href="#([^"]*)"/g)].map(([, id]) => id)
    expect(links.filter((id) => !ids.includes(id))).toEqual([])
    const [contents = ''] = /<nav.*<\/nav>/s.exec(text) ?? []
    const listed = [...contents.matchAll(/href="#[^"]*">([^<]*)</g)].map(([, name]) => name)
    expect(listed).toEqual(expect.arrayContaining(OPERATIONS.map(({ method, path }) => `${method} ${path}`)))
    expect(listed).toEqual(expect.arrayContaining(['Errors', 'JobRequest', 'JobState', 'EventEnd']))
  })

  test('has no more than two rows of errors at an operation, and one table of all', async ({ gateway }) => {
    const { url } = await gateway()
    const { text } = await call(`${url}/docs`)
    const sections = sectionsOf(text)
    for (const { method, path } of OPERATIONS) {
      const section = sections.get(`${method.toLowerCase()} ${path}`) ?? ''
      const statuses = [...section.matchAll(/<tr><td><code>([1-5]\w\w)<\/code>/g)].map(
        ([, status = '']) => status,
      )
      expect(statuses.length).toBeGreaterThan(1)
      expect(statuses.filter((status) => status >= '4' && status !== '503')).toEqual(['4XX', '5XX'])
    }
    expect(text.match(/<td>429</g)).toHaveLength(1)
  })

  test('has a curl command at every operation that its route understands', async ({ lab, gateway }) => {
    await lab.client({}, 'main')
    await lab.worker(await lab.replica(), { pool: 'main' })
    const { url } = await gateway()
    const sections = sectionsOf((await call(`${url}/docs`)).text)
    for (const operation of OPERATIONS) {
      const section = sections.get(`${operation.method.toLowerCase()} ${operation.path}`) ?? ''
      const samples = [...section.matchAll(/<pre class="sample">(.*?)<\/pre>/gs)].map(([, sample = '']) =>
        unescape(sample),
      )
      expect(samples).toHaveLength(1)
      const command = samples[0]?.replace('http://127.0.0.1:8700', url) ?? ''
      const { stdout } = await promisify(execFile)('sh', ['-c', `${command} -s -w '\n%{http_code}'`])
      const status = stdout.split('\n').at(-1) ?? ''
      expect([command, statusesOf(operation)]).toEqual([command, expect.arrayContaining([status])])
      expect([command, status]).not.toEqual([command, '400'])
      if (operation.path === '/v1/jobs' && operation.method === 'POST')
        expect(JSON.parse(stdout.split('\n')[0] ?? '')).toMatchObject({ state: 'ended' })
    }
  })

  test('says in words what a field takes', async ({ gateway }) => {
    const { url } = await gateway()
    const section = sectionsOf((await call(`${url}/docs`)).text).get('JobRequest') ?? ''
    const rowOf = (field: string) => {
      const [row = ''] = section.split('<tr>').filter((line) => line.startsWith(`<td><code>${field}</code>`))
      return unescape(row.replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ')).trim()
    }
    expect(rowOf('pool')).toMatch(/^pool required string/)
    expect(rowOf('priority')).toContain('"interactive" or "batch"')
    expect(rowOf('parameters.top_p')).toContain('number, at most 1, above 0 or null')
    expect(rowOf('messages[].role')).toContain('required string')
    // It is refused, whatever it holds.
    expect(rowOf('placement')).toBe('')
  })
})
