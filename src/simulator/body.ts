import type { IncomingMessage } from 'node:http'
import type { JsonBody, Refusal } from './request.ts'
import { isRefusal, parseJson } from './request.ts'

const TOO_LARGE: Refusal = { status: 413, text: 'Failed to buffer the request body: length limit exceeded' }
const NOT_JSON: Refusal = { status: 415, text: 'Expected request with `Content-Type: application/json`' }
const NOT_UTF8: Refusal = {
  status: 400,
  text: 'Failed to parse the request body as JSON: invalid unicode code point at line 1 column 1',
}

/** All bytes of a body, `undefined` when the client leaves before the end. What is past the limit is read and thrown away. */
function readBytes(request: IncomingMessage, limit: number): Promise<Buffer | Refusal | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= limit) chunks.push(chunk)
      else resolve(TOO_LARGE)
    })
    request.on('end', () => resolve(Buffer.concat(chunks)))
    request.on('error', () => resolve(undefined))
    request.on('close', () => resolve(undefined))
  })
}

/**
 * Reads a JSON body, refusing in axum 0.7.9's order and words: content type, size, syntax.
 * `undefined`: the client has left. `limit` is in bytes.
 */
export async function readJson(
  request: IncomingMessage,
  limit: number,
): Promise<JsonBody | Refusal | undefined> {
  const type = request.headers['content-type'] ?? ''
  const bytes = await readBytes(request, limit)
  if (!/^\s*application\/(?:json|[^;\s]*\+json)\s*(?:;|$)/i.test(type)) return NOT_JSON
  if (bytes === undefined) return undefined
  if (isRefusal(bytes)) return bytes
  try {
    return parseJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    return NOT_UTF8
  }
}
