import { Hono } from 'hono'
import { PoolError } from '../contract/error.ts'
import { CHALLENGE, requireKey } from '../http/authorize.ts'
import { openBearerKeys } from '../http/bearer-keys.ts'
import type { BearerKeys } from '../http/bearer-keys.ts'
import { errorResponse } from '../http/envelope.ts'
import { respondFrontPage } from '../http/front-page.ts'
import type { FrontPage } from '../http/front-page.ts'
import { addHealth } from '../http/health.ts'
import { requireLoopbackHost } from '../http/host.ts'
import { startHttpServer } from '../http/serve.ts'
import type { HttpEnv, HttpServer } from '../http/serve.ts'
import { connectRedis, disconnectRedis } from '../redis/connect.ts'
import type { Logger } from '../runtime/log.ts'
import { isLoopback } from '../runtime/loopback.ts'
import { within } from '../runtime/within.ts'
import { createCollector } from './collect.ts'
import type { Collector } from './collect.ts'
import { METRICS_DEFAULTS } from './metrics-options.ts'
import type { MetricsOptions } from './metrics-options.ts'
import { EXPOSITION_TYPE } from './render.ts'

/** A metrics process that serves. */
export interface MetricsServer {
  readonly url: string
  readonly port: number
  /** Breaks off what is under way and closes every connection. Idempotent. */
  close(): Promise<void>
}

/** How long Redis may take to say that it is there (ms). */
const PING_MS = 1000
/** How long answers under way may take when it closes (ms): what they wait for is broken off. */
const CLOSE_MS = 1000

/**
 * Serves `GET /metrics`: every replica's own families, distinguished by labels, and ours (the table is at the head of
 * own-families.ts), fetched at each request. And `/livez`, `/readyz`, which needs Redis, and a page at `/`; none of them needs a key.
 *
 * @throws `PoolError` `REDIS_UNAVAILABLE` when Redis is not there at the start, later it may go and come back;
 * `CONFIG` if it cannot listen there or other machines can reach it without a key, and for a bad file of keys.
 */
export async function startMetricsServer(options: MetricsOptions): Promise<MetricsServer> {
  const { logger, host = METRICS_DEFAULTS.host, bearerFile: file } = options
  if (!isLoopback(host) && file === undefined) {
    throw new PoolError(
      'CONFIG',
      `metrics: ${host} can be reached from other machines: expected a file of bearer keys (TGI_POOL_METRICS_BEARER_FILE or --bearer-file), got none`,
    )
  }
  const keys = file === undefined ? undefined : await openBearerKeys({ file, logger })
  const redis = await connectRedis(options.redisUrl, { role: 'commands' }).catch((error: unknown) => {
    keys?.close()
    throw error
  })
  const stopping = new AbortController()
  let server: HttpServer
  try {
    const collector = createCollector({
      redis,
      prefix: options.prefix ?? METRICS_DEFAULTS.prefix,
      apiKey: options.apiKey,
      apiKeyFor: options.apiKeyFor,
      replicaTimeoutMs: options.replicaTimeoutMs ?? METRICS_DEFAULTS.replicaTimeoutMs,
      cacheMs: options.cacheMs ?? METRICS_DEFAULTS.cacheMs,
      logger,
      signal: stopping.signal,
    })
    const app = createApp(collector, keys, logger)
    addHealth(app, async () => {
      const pong = redis.ping()
      const ready = (await within(pong, PING_MS)) && (await pong.catch(() => '')) === 'PONG'
      return ready ? { ready } : { ready, reason: 'Redis does not answer' }
    })
    server = await startHttpServer({
      app,
      host,
      port: options.port,
      portSetting: '--port or TGI_POOL_METRICS_PORT',
      hostSetting: '--host or TGI_POOL_METRICS_HOST',
    })
  } catch (error) {
    keys?.close()
    disconnectRedis(redis)
    throw error
  }
  let closed: Promise<void> | undefined
  return {
    url: server.url,
    port: server.port,
    close() {
      closed ??= (async () => {
        stopping.abort(new Error('the metrics process ends'))
        keys?.close()
        disconnectRedis(redis)
        await server.close(CLOSE_MS)
      })()
      return closed
    },
  }
}

const FRONT_PAGE: FrontPage = {
  title: 'tgi-pool metrics',
  text: 'Metrics of all pools and their Text Generation Inference replicas, for Prometheus. Where the process has bearer keys, add -H "Authorization: Bearer <key>".',
  links: [
    ['metrics', 'the metrics'],
    ['readyz', 'whether Redis answers'],
  ],
  curl: (address) => `curl ${address}/metrics`,
}

function createApp(collector: Collector, keys: BearerKeys | undefined, logger: Logger): Hono<HttpEnv> {
  const app = new Hono<HttpEnv>({ strict: false })
  app.get('/metrics', async (context) => {
    const { incoming } = context.env
    if (keys === undefined) requireLoopbackHost(incoming)
    else requireKey(incoming, keys)
    return context.body(await collector.collect(), 200, { 'content-type': EXPOSITION_TYPE })
  })
  app.get('/', (context) => {
    if (keys === undefined) requireLoopbackHost(context.env.incoming)
    return respondFrontPage(context, FRONT_PAGE)
  })
  app.onError((error, context) => {
    if (error instanceof PoolError) {
      if (error.kind === 'UNAUTHORIZED') context.header('WWW-Authenticate', CHALLENGE)
      return errorResponse(context, error)
    }
    logger.error({ err: error }, 'request failed')
    return context.text('internal error', 500)
  })
  return app
}
