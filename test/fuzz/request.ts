import type { Conversation, DrawContext } from './shot.ts'

/** What a request has. */
export interface RequestParts {
  readonly method?: string
  readonly path: string
  /** Lines as they go out, in place of or beside the usual ones: `Accept: x`. */
  readonly headers?: readonly string[]
  readonly body?: string | Buffer
}

/** The headers that every good request has. */
export function usualHeaders({ bearer }: Pick<DrawContext, 'bearer'>): string[] {
  return ['Host: 127.0.0.1', `Authorization: Bearer ${bearer}`]
}

/** A request's head and its body, as bytes. */
export function formatRequest(context: DrawContext, parts: RequestParts): Buffer[] {
  const { method = 'GET', path, headers = [], body } = parts
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const given = new Set(headers.map((line) => line.split(':', 1)[0]?.toLowerCase()))
  const ofBody =
    bytes === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${bytes.length}`]
  const usual = [...usualHeaders(context), ...ofBody].filter(
    (line) => !given.has(line.split(':', 1)[0]?.toLowerCase()),
  )
  const head = Buffer.from(
    `${method} ${path} HTTP/1.1\r\n${[...usual, ...headers].join('\r\n')}\r\n\r\n`,
    'latin1',
  )
  return bytes === undefined ? [head] : [head, bytes]
}

/** One request on a connection of its own, and its answer. */
export function ask(context: DrawContext, parts: RequestParts): Conversation {
  return { pieces: formatRequest(context, parts), expects: [parts.method ?? 'GET'], ending: 'read' }
}
