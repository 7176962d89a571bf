import type { Context } from 'hono'
import { PAGE_STYLE, escapeHtml, pageHead, pageHeaders } from './page.ts'
import type { HttpEnv } from './serve.ts'

/** What stands at the root of a server: what it is, where to go on, and how to begin. */
export interface FrontPage {
  readonly title: string
  readonly text: string
  /** Path and what is there. Paths are relative, as a proxy may serve the root elsewhere. */
  readonly links: readonly (readonly [path: string, what: string])[]
  /** A command that works, for the address that the page was asked for under. */
  readonly curl: (address: string) => string
}

const HEADERS = pageHeaders(PAGE_STYLE)

/**
 * Responds with the page at the root. It is the same for everybody, so it needs no key; and no version is in it, as it would
 * tell a stranger which faults to try.
 */
export function respondFrontPage(context: Context<HttpEnv>, page: FrontPage): Response {
  // Checked before (host.ts); HTTP/1.0 may have none.
  const host = context.env.incoming.headers.host || 'localhost'
  const links = page.links.map(
    ([path, what]) => `<li><a href="${escapeHtml(path)}">/${escapeHtml(path)}</a>: ${escapeHtml(what)}`,
  )
  const html = `${pageHead(page.title, PAGE_STYLE)}<h1>${escapeHtml(page.title)}</h1>
<p>${escapeHtml(page.text)}
<ul>
${links.join('\n')}
</ul>
<pre>${escapeHtml(page.curl(host))}</pre>
</html>
`
  // It names the Host that it was asked for under.
  return context.body(html, 200, { ...HEADERS, 'Cache-Control': 'no-store' })
}
