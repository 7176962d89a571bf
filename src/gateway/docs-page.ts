/**
 * The OpenAPI document as one page. We render it ourselves, because existing renderers (tried on 2026-11-27) do not suit a server that
 * must work offline and under a strict content security policy. Scalar 1.76 is a 4.9 MB script that needs inline styles and loads fonts
 * from its own host, and installs 284 packages (311 MB). Redoc 3.0 is a 2.3 MB script that needs inline styles, loads its logo and sends
 * traces to its vendor, and shows no curl. This page has no script.
 */
import { PAGE_STYLE, escapeHtml, pageHead, pageHeaders } from '../http/page.ts'
import { describeType, renderJson, renderRef, renderSchema } from './docs-schema.ts'
import { anchorOf, renderInline, renderMarkdown, renderTable } from './docs-text.ts'
import { operationsOf } from './openapi-document.ts'
import type { Content, PlacedOperation, Response, Schema } from './openapi-document.ts'
import type { Json } from './openapi-parts.ts'

const STYLE = `${PAGE_STYLE}
body{max-width:80rem;display:grid;grid-template-columns:17rem minmax(0,1fr);gap:2rem}
nav{position:sticky;top:0;height:100vh;overflow:auto;font-size:14px;padding:1rem 0}nav ul{list-style:none;padding:0;margin:.2rem 0 1rem}
nav a{display:block;padding:.1rem 0;text-decoration:none}nav b{display:block}
h2,section{border-top:1px solid #8886;padding-top:1rem}section{scroll-margin-top:1rem}section:target>h3{text-decoration:underline}
table{border-collapse:collapse;width:100%;margin:.7rem 0}td,th{text-align:left;padding:.25rem .8rem .25rem 0;vertical-align:top;border-bottom:1px solid #8883}
td details{display:inline}td code{overflow-wrap:anywhere}td:first-child code{white-space:nowrap}h3 code{font-size:17px}summary{cursor:pointer}.method{font-weight:700;text-transform:uppercase}
@media(max-width:50rem){body{display:block}nav{position:static;height:auto}table{display:block;overflow:auto}}
`

/** The page's headers: it may load nothing, run nothing, and not be framed. */
export const DOCS_PAGE_HEADERS = pageHeaders(STYLE)

/** Renders the OpenAPI document as one page: contents, routes by tag, schemas. */
export function renderDocsPage(document: Json): string {
  const { title, description } = document['info'] as { title: string; description: string }
  const tags = document['tags'] as readonly { name: string; description: string }[]
  const { schemas } = document['components'] as { schemas: Readonly<Record<string, Schema>> }
  const groups = tags.map((tag) => ({
    ...tag,
    operations: operationsOf(document['paths'] as Json).filter((operation) =>
      operation.tags.includes(tag.name),
    ),
  }))
  const headings = [...description.matchAll(/^## (.+)$/gm)].map(([, heading = '']) => heading)
  const navigation = [
    navigate(
      title,
      headings.map((heading) => [anchorOf(heading), heading]),
    ),
    ...groups.map(({ name, operations }) =>
      navigate(
        name,
        operations.map(({ operationId, method, path }) => [operationId, `${method.toUpperCase()} ${path}`]),
      ),
    ),
    navigate(
      'schemas',
      Object.keys(schemas).map((name) => [name, name]),
    ),
  ]
  return `${pageHead(title, STYLE)}<nav aria-label="Contents">
${navigation.join('\n')}
</nav>
<main><h1>${escapeHtml(title)}</h1>
<p>As OpenAPI: <a href="openapi.json">openapi.json</a></p>
${renderMarkdown(description)}
${groups
  .map(
    ({ name, description: about, operations }) =>
      `<h2>${escapeHtml(name)}</h2>\n<p>${renderInline(about)}.</p>\n${operations.map(renderOperation).join('\n')}`,
  )
  .join('\n')}
<h2>schemas</h2>
${Object.entries(schemas)
  .map(([name, schema]) => renderSchema(name, schema))
  .join('\n')}
</main></html>
`
}

function navigate(heading: string, entries: readonly (readonly [id: string, text: string])[]): string {
  const links = entries.map(([id, text]) => `<li><a href="#${escapeHtml(id)}">${escapeHtml(text)}</a>`)
  return `<b>${escapeHtml(heading)}</b><ul>${links.join('\n')}</ul>`
}

function renderOperation(operation: PlacedOperation): string {
  const { operationId, method, path, summary, description = '', parameters = [], requestBody } = operation
  const samples = (operation['x-codeSamples'] ?? []).map(
    ({ source }) => `<pre class="sample">${escapeHtml(source)}</pre>`,
  )
  const rows = parameters.map(({ name, in: where, required, description: about = '', schema }) => [
    `<code>${escapeHtml(name)}</code>`,
    `${where}${required === true ? ', <b>required</b>' : ''}`,
    describeType(schema),
    renderInline(about),
  ])
  const responses = Object.entries(operation.responses).map(([status, response]) => [
    `<code>${status}</code>`,
    renderInline(response.description) + renderNext(response),
    renderBodies(response.content),
  ])
  const keys = operation.security?.length === 0 ? '<p>Needs no bearer key.</p>' : ''
  return `<section id="${escapeHtml(operationId)}"><h3><code><span class="method">${method}</span> ${escapeHtml(path)}</code></h3>
<p>${renderInline(summary)}.</p>${renderMarkdown(description)}${keys}
${samples.join('')}
${renderTable(['parameter', 'in', 'type', ''], rows)}
${requestBody === undefined ? '' : `<p>Body: ${renderBodies(requestBody.content)}</p>${renderExamples(requestBody.content)}`}
${renderTable(['status', '', 'body'], responses)}</section>`
}

/** Links to operations on the job of a response. */
function renderNext({ links = {} }: Response): string {
  const ids = Object.values(links).map(({ operationId }) => renderRef(operationId))
  return ids.length === 0 ? '' : `<br>Next: ${ids.join(', ')}`
}

/** The media types of a body, each with the schemas that it may have. */
function renderBodies(content: Readonly<Record<string, Content>> = {}): string {
  return Object.entries(content)
    .map(([type, { schema }]) => {
      const refs = JSON.stringify(schema).matchAll(/"(#\/components\/schemas\/\w+)"/g)
      const names = [...new Set([...refs].map(([, ref = '']) => renderRef(ref)))]
      return `<code>${escapeHtml(type)}</code> ${names.join(', ')}`
    })
    .join('<br>')
}

function renderExamples(content: Readonly<Record<string, Content>>): string {
  return Object.values(content)
    .flatMap(({ examples = {} }) => Object.entries(examples))
    .map(([name, example]) =>
      'value' in example
        ? `<details><summary>Example: ${escapeHtml(name)}</summary>${renderJson(example.value)}</details>`
        : '',
    )
    .join('')
}
