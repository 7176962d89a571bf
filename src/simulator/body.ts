import type { IncomingMessage } from 'node:http'
import { JsonReader } from './json-reader.ts'
import { JsonFlaw } from './json-scanner.ts'
import type { Read } from './serde.ts'

/** Why a body was refused before any handler saw it: an HTTP status and a plain text. */
export interface Refusal {
  readonly status: 400 | 413 | 415 | 422
  readonly text: string
}

const TOO_LARGE: Refusal = { status: 413, text: 'Failed to buffer the request body: length limit exceeded' }
const NOT_JSON: Refusal = { status: 415, text: 'Expected request with `Content-Type: application/json`' }

/** Whether reading ended in a refusal. */
export function isRefusal(value: object): value is Refusal {
  return 'status' in value
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

/** Reads one JSON document and ignores the rest, as axum 0.7.9 does. The refusal quotes at most a value of the wrong type. */
function parseJson<T extends object>(bytes: Buffer, read: Read<T>): T | Refusal {
  const reader = new JsonReader(bytes)
  try {
    return read(reader)
  } catch (error) {
    if (!(error instanceof JsonFlaw)) throw error
    const path = error.path === '' ? '' : `${error.path}: `
    const detail = `${path}${error.message} at ${reader.placeOf(error.offset ?? bytes.length)}`
    return error.kind === 'syntax'
      ? { status: 400, text: `Failed to parse the request body as JSON: ${detail}` }
      : { status: 422, text: `Failed to deserialize the JSON body into the target type: ${detail}` }
  }
}

/**
 * Reads a JSON body, refusing in axum 0.7.9's order and words: content type, size, syntax and types.
 * `undefined`: the client has left. `limit` is in bytes.
 */
export async function readJson<T extends object>(
  request: IncomingMessage,
  limit: number,
  read: Read<T>,
): Promise<T | Refusal | undefined> {
  const type = request.headers['content-type'] ?? ''
  const bytes = await readBytes(request, limit)
  if (!/^\s*application\/(?:json|[^;\s]*\+json)\s*(?:;|$)/i.test(type)) return NOT_JSON
  if (bytes === undefined || isRefusal(bytes)) return bytes
  return parseJson(bytes, read)
}
