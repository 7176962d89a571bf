import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { z } from 'zod'
import type { PoolError } from '../contract/error.ts'

/** Every error that leaves over HTTP: one shape, whatever the route. */
export const errorEnvelopeSchema = z.object({
  error: z.object({
    code: z.string().describe('an error code, or a fault of the call such as UNKNOWN_JOB'),
    message: z.string().describe('what, where, got and expected; no prompt, no secret'),
    retriable: z.boolean().describe('the same request may work later'),
    retry_after_ms: z.number().int().nonnegative().optional(),
  }),
})

/** The envelope of an error. */
export type ErrorEnvelope = z.infer<typeof errorEnvelopeSchema>

/** How long to stay away from a door that is busy or has lost its Redis, when nothing says otherwise (ms). */
const RETRY_AFTER_MS = 1000

/** An error as it leaves: every 429 and 503 says how long to wait. */
export function errorEnvelope({ kind, message, retriable, retryAfterMs, status }: PoolError): ErrorEnvelope {
  const waitMs = retryAfterMs ?? (status === 429 || status === 503 ? RETRY_AFTER_MS : undefined)
  return {
    error: {
      code: kind,
      message,
      retriable,
      ...(waitMs === undefined ? {} : { retry_after_ms: waitMs }),
    },
  }
}

/** The headers of such an answer: `Retry-After` (seconds, rounded up) where waiting helps. */
export function errorHeaders({ error }: ErrorEnvelope): Record<string, string> {
  return error.retry_after_ms === undefined
    ? {}
    : { 'Retry-After': String(Math.ceil(error.retry_after_ms / 1000)) }
}

/** Answers with an error: status and `Retry-After` by the table of codes. */
export function errorResponse(context: Context, error: PoolError): Response {
  const envelope = errorEnvelope(error)
  return context.json(envelope, error.status as ContentfulStatusCode, errorHeaders(envelope))
}
