import { createHash } from 'node:crypto'
import type { Json } from './openapi-parts.ts'

const STYLE = `
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
h2{border-top:1px solid #ccc;padding-top:1rem}code,pre{font:14px/1.4 ui-monospace,monospace;background:#f4f4f4}
pre{padding:.7rem;overflow:auto}table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}code,pre{background:#262626}a{color:#8ab4f8}}
`

/** The page's headers: it loads nothing, runs nothing, and stands in no frame. */
export const DOCS_PAGE_HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'Referrer-Policy': 'no-referrer',
} as const

interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly description?: string
  readonly parameters?: readonly { name: string; in: string; description?: string; required?: boolean }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> }
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly content?: Readonly<Record<string, Content>> }>
  >
}

interface Content {
  readonly schema: { readonly $ref?: string }
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>
}

/** The OpenAPI document as one page to read. */
export function renderDocsPage(document: Json): string {
  const { title, description } = document['info'] as { title: string; description: string }
  const paths = document['paths'] as Record<string, Record<string, Operation>>
  const { schemas } = document['components'] as { schemas: Record<string, unknown> }
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => renderOperation(method, path, operation)),
  )
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(title)}</title><style>${STYLE}</style>
<h1>${escape(title)}</h1>${prose(description)}
<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>
${operations.join('\n')}
<h2>Schemas</h2>
${Object.entries(schemas)
  .map(([name, schema]) => `<h3 id="${escape(name)}">${escape(name)}</h3>${renderJson(schema)}`)
  .join('\n')}
</html>
`
}

function renderOperation(method: string, path: string, operation: Operation): string {
  const parameters = (operation.parameters ?? []).map(
    ({ name, in: where, description = '', required }) =>
      `<tr><td><code>${escape(name)}</code><td>${where}${required === true ? ', required' : ''}<td>${inline(description)}`,
  )
  const body = Object.values(operation.requestBody?.content ?? {}).map(
    ({ schema, examples }) =>
      `<p>Body: ${renderRef(schema.$ref)}</p>${Object.values(examples ?? {})
        .map(({ value }) => renderJson(value))
        .join('')}`,
  )
  const responses = Object.entries(operation.responses).map(
    ([status, { description, content }]) =>
      `<tr><td>${status}<td>${inline(description)}<td>${Object.values(content ?? {})
        .map(({ schema }) => renderRef(schema.$ref))
        .join('')}`,
  )
  return `<h2 id="${escape(operation.operationId)}"><code>${method.toUpperCase()} ${escape(path)}</code></h2>
<p>${inline(operation.summary)}.</p>${prose(operation.description ?? '')}
<table>${parameters.join('')}</table>${body.join('')}
<table>${responses.join('')}</table>`
}

function renderRef(ref: string | undefined): string {
  const name = ref?.split('/').at(-1)
  return name === undefined ? '' : `<a href="#${escape(name)}">${escape(name)}</a>`
}

function renderJson(value: unknown): string {
  return `<pre>${escape(JSON.stringify(value, null, 2))}</pre>`
}

function prose(text: string): string {
  return text
    .split('\n\n')
    .filter((paragraph) => paragraph !== '')
    .map((paragraph) => `<p>${inline(paragraph)}</p>`)
    .join('\n')
}

/** Text with `code` in it. */
function inline(text: string): string {
  return escape(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>')
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
