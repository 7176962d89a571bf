import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { labelSchema } from '../contract/ids.ts'
import type { Logger } from '../runtime/log.ts'
import type { Caller } from './caller.ts'

/** What is known of a request while it is answered. */
interface RequestFacts {
  readonly correlationId: string
  /** `X-Correlation-Id` was given and is none. */
  readonly correlationRefused: boolean
  /** The pattern, never the path: a job's id is a right to read it. */
  route: string
  job_id?: string
  pool_id?: string
  /** Who calls. */
  caller?: Caller | undefined
  /** The code of an error response. */
  code?: string
  /** How many events went out. */
  events?: number
}

/** One line a request. */
export interface RequestLog {
  /** Begins: the answer gets its `X-Correlation-Id`, and its line when it is over. */
  begin(incoming: IncomingMessage, outgoing: ServerResponse): void
  of(incoming: IncomingMessage): RequestFacts
}

/**
 * The access log: method, route, status, duration, bytes, the code of an error answer, the name of the
 * key, and the ids that workers log, too. Never a body, a header, a
 * path or a query.
 */
export function createRequestLog(logger: Logger): RequestLog {
  const known = new WeakMap<IncomingMessage, RequestFacts>()
  return {
    begin(incoming, outgoing) {
      const given = incoming.headers['x-correlation-id']
      const fits = typeof given === 'string' && labelSchema.safeParse(given).success
      const facts: RequestFacts = {
        correlationId: fits ? given : randomUUID(),
        correlationRefused: given !== undefined && !fits,
        route: 'none',
      }
      known.set(incoming, facts)
      outgoing.setHeader('X-Correlation-Id', facts.correlationId)
      outgoing.setHeader('X-Content-Type-Options', 'nosniff')
      const startedAt = performance.now()
      const { socket } = incoming
      const sentBefore = socket.bytesWritten
      outgoing.once('close', () => {
        const { correlationId, correlationRefused: _, caller, ...rest } = facts
        const line = {
          correlation_id: correlationId,
          method: incoming.method,
          ...rest,
          // An address is none of the log's business.
          ...(caller?.sign === undefined ? {} : { key: caller.name }),
          status: outgoing.statusCode,
          ms: Math.round(performance.now() - startedAt),
          bytes: socket.bytesWritten - sentBefore,
          // The client left before its answer was whole.
          ...(outgoing.writableFinished ? {} : { cut: true }),
        }
        if (outgoing.statusCode >= 500) logger.warn(line, 'request answered')
        else logger.info(line, 'request answered')
      })
    },
    of(incoming) {
      const facts = known.get(incoming)
      if (facts === undefined) throw new Error('a request that was never begun')
      return facts
    },
  }
}
