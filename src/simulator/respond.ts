import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { ErrorType } from './frames.ts'
import { errorJson, ERRORS } from './frames.ts'

/** One HTTP request and its answer. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Without the query. */
  readonly path: string
  /** When the headers had arrived, on the simulator's clock. */
  readonly receivedAtMs: number
}

/** What every answer carries: the mark of the simulator, and CORS as tower-http writes it with any origin allowed. */
export function setCommonHeaders(response: ServerResponse): void {
  response.setHeader('x-simulator', 'tgi-pool')
  response.setHeader('access-control-allow-origin', '*')
  response.setHeader('vary', 'origin, access-control-request-method, access-control-request-headers')
}

function send(
  { response }: Exchange,
  status: number,
  type: string | undefined,
  body: string,
  headers: OutgoingHttpHeaders = {},
): void {
  if (response.destroyed) return
  const bytes = Buffer.from(body)
  response.writeHead(status, {
    ...(type === undefined ? {} : { 'content-type': type }),
    'content-length': bytes.length,
    ...headers,
  })
  response.end(bytes)
}

/** Answers with no body. */
export function sendEmpty(exchange: Exchange, status: number, headers?: OutgoingHttpHeaders): void {
  send(exchange, status, undefined, '', headers)
}

/** Answers with text, plain unless the headers say otherwise. */
export function sendText(
  exchange: Exchange,
  status: number,
  text: string,
  headers?: OutgoingHttpHeaders,
): void {
  send(exchange, status, 'text/plain; charset=utf-8', text, headers)
}

/** Answers with JSON that is already text. */
export function sendJson(
  exchange: Exchange,
  status: number,
  json: string,
  headers?: OutgoingHttpHeaders,
): void {
  send(exchange, status, 'application/json', json, headers)
}

/** Answers with one of TGI's errors and its status. */
export function sendError(exchange: Exchange, type: ErrorType, message: string): void {
  sendJson(exchange, ERRORS[type].status, errorJson(type, message))
}
