import { Hono } from 'hono'
import type { Context } from 'hono'
import type { IncomingMessage } from 'node:http'
import { PoolError } from '../contract/error.ts'
import { CHALLENGE } from '../http/authorize.ts'
import { errorResponse } from '../http/envelope.ts'
import { describeRefusal, isForbidden } from '../redis/fault.ts'
import { respondFrontPage } from '../http/front-page.ts'
import type { FrontPage } from '../http/front-page.ts'
import { addHealth } from '../http/health.ts'
import type { Readiness } from '../http/health.ts'
import type { HttpEnv } from '../http/serve.ts'
import type { Logger } from '../runtime/log.ts'
import { preflightHeaders } from './cors.ts'
import { DOCS_PAGE_HEADERS } from './docs-page.ts'
import type { Caller } from './caller.ts'
import type { JobRoutes } from './job-routes.ts'
import type { ListRoutes } from './list-routes.ts'
import type { OperatorRoutes } from './operator-routes.ts'
import type { RequestLog } from './request-log.ts'

/** The parts of an app. */
export interface AppOptions {
  readonly jobs: JobRoutes
  readonly lists: ListRoutes
  readonly operator: OperatorRoutes
  readonly pools: (context: Context<HttpEnv>) => Promise<Response>
  readonly readiness: () => Promise<Readiness>
  /** Authorizes a request: returns the caller if that matters, or throws. */
  readonly admit: (incoming: IncomingMessage, route: string) => Caller | undefined
  readonly log: RequestLog
  readonly logger: Logger
  /** The OpenAPI document, as JSON. */
  readonly openApi: string
  /** The same as a page. */
  readonly docsPage: string
}

/** Every route and its methods. */
const ROUTES: Readonly<Record<string, readonly string[]>> = {
  '/v1/jobs': ['GET', 'HEAD', 'POST'],
  '/v1/jobs/:id': ['GET', 'HEAD', 'DELETE'],
  '/v1/jobs/:id/events': ['GET', 'HEAD'],
  '/v1/jobs/:id/cancel': ['POST'],
  '/v1/pools': ['GET', 'HEAD'],
  '/v1/pools/:pool': ['DELETE'],
  '/v1/pools/:pool/replicas': ['GET', 'HEAD'],
  '/v1/pools/:pool/replicas/:replica/drain': ['POST'],
  '/v1/pools/:pool/replicas/:replica/undrain': ['POST'],
  '/': ['GET', 'HEAD'],
  '/livez': ['GET', 'HEAD'],
  '/readyz': ['GET', 'HEAD'],
  '/openapi.json': ['GET', 'HEAD'],
  '/docs': ['GET', 'HEAD'],
}

/** Routes that need no key, because they reveal nothing about jobs. */
export const OPEN_ROUTES: ReadonlySet<string> = new Set(['/', '/livez', '/readyz', '/openapi.json', '/docs'])

const FRONT_PAGE: FrontPage = {
  title: 'tgi-pool gateway',
  text: 'A durable queue in front of Text Generation Inference replicas, and a replayable event stream behind them. Put in a job and wait for its answer with the command below; where the gateway has bearer keys, add -H "Authorization: Bearer <key>".',
  links: [
    ['docs', 'all routes, to read'],
    ['openapi.json', 'the same as OpenAPI'],
    ['readyz', 'readiness probe'],
  ],
  curl: (address) =>
    `curl '${address}/v1/jobs?wait=30' -H 'Content-Type: application/json' -d '{"pool":"main","inputs":"Why is the sky blue?"}'`,
}

/** Creates the routes, their middleware, and the error responses. */
export function createApp(options: AppOptions): Hono<HttpEnv> {
  const { jobs, lists, operator, log } = options
  // Proxies that join paths may add a slash.
  const app = new Hono<HttpEnv>({ strict: false })
  for (const path of Object.keys(ROUTES)) {
    app.use(path, async (context, next) => {
      log.of(context.env.incoming).route = path
      await next()
    })
  }
  app.use(async ({ env: { incoming } }, next) => {
    const facts = log.of(incoming)
    log.of(incoming).caller = options.admit(incoming, facts.route)
    // Strict only if a job will carry it. Elsewhere an id that a proxy repeated or formatted differently is ignored.
    if (facts.correlationRefused && facts.route === '/v1/jobs' && incoming.method === 'POST') {
      throw new PoolError('INVALID_PARAMS', 'X-Correlation-Id: expected 1 to 64 of A-Z a-z 0-9 . _ -, once')
    }
    await next()
  })
  app.get('/v1/jobs', lists.jobs)
  app.post('/v1/jobs', jobs.enqueue)
  app.get('/v1/jobs/:id', jobs.state)
  app.delete('/v1/jobs/:id', jobs.forget)
  app.get('/v1/jobs/:id/events', jobs.events)
  app.post('/v1/jobs/:id/cancel', jobs.cancel)
  app.get('/v1/pools', options.pools)
  app.delete('/v1/pools/:pool', operator.deletePool)
  app.get('/v1/pools/:pool/replicas', lists.replicas)
  app.post('/v1/pools/:pool/replicas/:replica/drain', operator.drain)
  app.post('/v1/pools/:pool/replicas/:replica/undrain', operator.undrain)
  app.get('/', (context) => respondFrontPage(context, FRONT_PAGE))
  addHealth(app, options.readiness)
  app.get('/openapi.json', (context) =>
    context.body(options.openApi, 200, { 'Content-Type': 'application/json' }),
  )
  app.get('/docs', (context) => context.body(options.docsPage, 200, DOCS_PAGE_HEADERS))
  for (const [path, methods] of Object.entries(ROUTES))
    app.all(path, (context) => answerOther(context, methods, log))
  app.notFound((context) =>
    refuse(context, log, new PoolError('NOT_FOUND', 'no such route; GET /openapi.json lists the routes')),
  )
  app.onError((error, context) => answerError(error, context, options))
  return app
}

/** Responds with an error and adds its code to the request's log line. */
function refuse(context: Context<HttpEnv>, log: RequestLog, error: PoolError): Response {
  log.of(context.env.incoming).code = error.kind
  return errorResponse(context, error)
}

/** Handles OPTIONS, and methods that a route does not accept. */
function answerOther(context: Context<HttpEnv>, methods: readonly string[], log: RequestLog): Response {
  const allowed = [...methods, 'OPTIONS'].join(', ')
  context.header('Allow', allowed)
  if (context.req.method === 'OPTIONS') return context.body(null, 204, preflightHeaders(allowed))
  return refuse(
    context,
    log,
    new PoolError(
      'METHOD_NOT_ALLOWED',
      `this route accepts ${allowed}, got ${context.req.method.slice(0, 20)}`,
    ),
  )
}

function answerError(error: Error, context: Context<HttpEnv>, { log, logger }: AppOptions): Response {
  const { correlationId } = log.of(context.env.incoming)
  if (error instanceof PoolError) {
    if (error.kind === 'UNAUTHORIZED') context.header('WWW-Authenticate', CHALLENGE)
    if (error.kind !== 'REDIS_UNAVAILABLE') return refuse(context, log, error)
    // Do not reveal Redis's address to clients.
    logger.warn({ err: error, correlation_id: correlationId }, 'request failed: Redis unavailable')
    const forbids = isForbidden(error.cause)
      ? "does not allow this gateway's user what this takes"
      : undefined
    const said = describeRefusal(error.cause) ?? forbids ?? 'does not answer'
    return refuse(
      context,
      log,
      new PoolError('REDIS_UNAVAILABLE', `Redis ${said}; the operation may still take effect`),
    )
  }
  logger.error({ err: error, correlation_id: correlationId }, 'request failed: unexpected fault')
  return refuse(
    context,
    log,
    new PoolError('INTERNAL', `unexpected error; the log has details under ${correlationId}`),
  )
}
