import type { Context } from 'hono'
import { PAGE_STYLE, escapeHtml, pageHead, pageHeaders } from './page.ts'
import type { HttpEnv } from './serve.ts'

/** The page at the root of a server: what it is, links, and a first command. */
export interface FrontPage {
  readonly title: string
  readonly text: string
  /** Path and what is there. Paths are relative, because a proxy may mount the root elsewhere. */
  readonly links: readonly (readonly [path: string, what: string])[]
  /** A working command, given the `Host` of the request. */
  readonly curl: (address: string) => string
}

const HEADERS = pageHeaders(PAGE_STYLE)

/**
 * Responds with the page at the root. It holds no secrets, so it needs no key, and no version, which would help an attacker choose an
 * exploit.
 */
export function respondFrontPage(context: Context<HttpEnv>, page: FrontPage): Response {
  // Validated earlier (host.ts); HTTP/1.0 may have no Host.
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
  // The page contains the request's Host, so it must not be cached.
  return context.body(html, 200, { ...HEADERS, 'Cache-Control': 'no-store' })
}
