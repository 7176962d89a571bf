import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { openPool } from '../../src/client/pools.ts'
import { runDocument } from '../examples/document.ts'
import { DOCUMENTS, PYTHON_DOCUMENTS, findDocuments } from '../examples/documents.ts'
import { checkJson } from '../examples/json-kinds.ts'
import { checkOutput } from '../examples/output.ts'
import { createPorts } from '../examples/ports.ts'
import type { Ports } from '../examples/ports.ts'
import { readSse } from '../examples/read-sse.ts'
import { NOT_RUN } from '../examples/services.ts'
import { splitCommands } from '../examples/shell.ts'
import { extractSnippets } from '../examples/snippets.ts'
import { ROOT, test } from '../examples/stage.ts'

/** How long a document may take: its demo alone takes ten seconds, and each command starts a Node or two (ms). */
const DOCUMENT_MS = 600_000

/** Programs of documents that are servers, by a text in them, and what shows that they serve. */
function servers(redisUrl: string): Readonly<Record<string, (ports: Ports) => Promise<void>>> {
  return {
    'createServer(': async (ports) => {
      const pool = await openPool({ redisUrl, pool: 'p' })
      try {
        const { job_id } = await pool.enqueue({ inputs: 'hello', parameters: { max_new_tokens: 20 } })
        const url = new URL(`http://127.0.0.1:${await ports.of('3000')}/${job_id}`)
        await expect.poll(() => fetch(url).then(({ body }) => body?.cancel(), String)).toBe(undefined)
        const whole = await readSse(url)
        expect(whole.map(({ event }) => event)).toEqual([
          'queued',
          'started',
          ...Array(20).fill('token'),
          'end',
        ])
        expect(await readSse(url, whole[9]?.id)).toEqual(whole.slice(10))
      } finally {
        await pool.close()
      }
    },
  }
}

test.for(DOCUMENTS)(
  'every snippet of %s does what it says, and prints what it shows',
  { timeout: DOCUMENT_MS },
  async (file, { stage }) => {
    const { url: redisUrl } = await stage.redis()
    const snippets = await runDocument(file, { dir: stage.dir, redisUrl, uses: servers(redisUrl) })
    expect(snippets.length).toBeGreaterThan(0)
  },
)

test('no document is left out', async () => {
  expect((await findDocuments()).toSorted()).toEqual([...DOCUMENTS, ...PYTHON_DOCUMENTS].toSorted())
})

test('what is excused from running stands in its document', async () => {
  for (const { file, text, why } of NOT_RUN) {
    expect(await readFile(join(ROOT, file), 'utf8')).toContain(text)
    expect(why).not.toBe('')
  }
})

describe('what runs documents', () => {
  test('takes blocks out of Markdown as they are, indented ones and fences of any length', () => {
    const markdown = 'a\n```sh\nx\n```\n- b\n  ````js title\n  ```\n  y\n  ````\n```\n```\n'
    expect(extractSnippets('f', markdown)).toEqual([
      { file: 'f', line: 3, lang: 'sh', code: 'x\n' },
      { file: 'f', line: 7, lang: 'js title', code: '```\ny\n' },
      { file: 'f', line: 11, lang: '', code: '\n' },
    ])
    expect(() => extractSnippets('f', '```sh\nx')).toThrow('f:2')
  })

  test('tells commands apart as a shell does', () => {
    const script = `# comment\na \\\n  b\n\ncat <<X\n1\nX\nfor i in 1 2\ndo echo "#\n$i"\ndone # over\n`
    expect(splitCommands(script)).toEqual([
      'a \\\n  b',
      'cat <<X\n1\nX',
      'for i in 1 2\ndo echo "#\n$i"\ndone # over',
    ])
  })

  test('knows output by all that does not vary', () => {
    const printed = `before\njob ${crypto.randomUUID()} on 127.0.0.1:8080:  40 tokens\n  a\n  b\nafter\n`
    checkOutput(printed, 'job bf1c6692-03d8-4be0-8ca0-1d9db8594be5 on 127.0.0.1:9:   7 tokens\n…\n  b\n')
    for (const other of ['job bf1c6692 on 127.0.0.1:9: 7 tokens', 'on 127.0.0.1:9: 7 words', 'after…before'])
      expect(() => checkOutput(printed, other)).toThrow('before')
  })

  test('puts ports in the place of ports', async () => {
    const ports = createPorts('redis://127.0.0.1:1234')
    ports.set('8080', '99')
    expect(await ports.rewrite('redis://127.0.0.1:6379 --port 8080 6379 8080')).toBe(
      'redis://127.0.0.1:1234 --port 99 6379 8080',
    )
  })

  test.for([
    ['a language that nobody runs', '```cobol\nx\n```\n', 'cobol'],
    ['no language', '```\nx\n```\n', 'without a language'],
    ['a command that fails', '```sh\ntrue\nls /nowhere\n```\n', 'ls /nowhere'],
    ['an answer of HTTP that is a refusal', '```sh\ncurl -s http://127.0.0.1:6379/\n```\n', 'curl'],
    ['a job that is none', '```json\n{"inputs": "x", "proirity": "batch"}\n```\n', 'additional properties'],
    ['JSON of an unknown kind', '```json\n{"some": "thing"}\n```\n', 'no kind'],
    ['output that is another', '```sh\necho one 12\n```\n```text\ntwo 12\n```\n', 'one 12'],
    ['a wrong type', "```ts\nimport { openPool } from 'tgi-pool'\nopenPool(1)\n```\n", 'TS2345'],
    ['a program that throws', "```js\nthrow new Error('not me')\n```\n", 'not me'],
  ])('fails for %s', async ([, markdown, says], { stage }) => {
    await expect(runDocument('made-up.md', { ...stage, markdown })).rejects.toThrow(says)
  })

  test('knows good JSON by its schema', async () => {
    const error = { code: 'UNKNOWN_JOB', message: 'no such job', retriable: false }
    await checkJson(JSON.stringify({ error }))
    await expect(checkJson('{"error":{"code":"UNKNOWN_JOB"}}')).rejects.toThrow('openapi#Error')
    await checkJson('{"id":"5-2","event":"token","data":{"t":" sky","i":0,"id":9,"logprob":-0.5}}')
    await checkJson('{"inputs":"x","pool":"p","job_id":"a"}\n{"messages":[{"role":"user","content":"hi"}]}\n')
  })
})
