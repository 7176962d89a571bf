import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { z } from 'zod'
import { PoolError } from '../contract/error.ts'

/** Every error that leaves over HTTP: one shape, whatever the route. */
export const errorEnvelopeSchema = z.object({
  error: z.object({
    code: z.string().describe('an error code, or a fault of the call such as UNKNOWN_JOB'),
    message: z.string().describe('what, where, got and expected; no prompt, no secret'),
    retriable: z.boolean().describe('the same request may work later'),
    retry_after_ms: z.number().int().nonnegative().optional(),
  }),
})

/** Answers with an error: status and `Retry-After` (seconds, rounded up) by the table of codes. */
export function errorResponse(context: Context, error: PoolError): Response {
  const { kind, message, retriable, retryAfterMs } = error
  if (retryAfterMs !== undefined) context.header('Retry-After', String(Math.ceil(retryAfterMs / 1000)))
  const body: z.infer<typeof errorEnvelopeSchema> = {
    error: {
      code: kind,
      message,
      retriable,
      ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }),
    },
  }
  return context.json(body, error.status as ContentfulStatusCode)
}
