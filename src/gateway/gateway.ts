import { logJobEnd } from '../attempt/job-end.ts'
import { openPools } from '../client/pools.ts'
import type { Pools } from '../client/pools.ts'
import { openBearerKeys } from '../http/bearer-keys.ts'
import type { BearerKeys } from '../http/bearer-keys.ts'
import { startHttpServer } from '../http/serve.ts'
import type { HttpServer } from '../http/serve.ts'
import { OPEN_ROUTES, createApp } from './app.ts'
import { createCors } from './cors.ts'
import { renderDocsPage } from './docs-page.ts'
import { createEventStreams } from './event-streams.ts'
import { admit } from './guard.ts'
import { inTime } from './in-time.ts'
import { createJobRoutes } from './job-routes.ts'
import { createListRoutes } from './list-routes.ts'
import { createOperatorRoutes } from './operator-routes.ts'
import { buildOpenApi } from './openapi.ts'
import { settle } from './options.ts'
import type { GatewayOptions, GatewaySettings } from './options.ts'
import { createPoolFinder } from './pool-finder.ts'
import { createReaderPlaces } from './reader-places.ts'
import type { ReaderPlaces } from './reader-places.ts'
import { createRequestLog } from './request-log.ts'

/** A gateway that listens. */
export interface Gateway {
  /** e.g. `http://127.0.0.1:8700` */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Event streams open now, and requests that wait for a job's end. */
  readonly streams: number
  /** Reads the file of bearer keys again. */
  reloadKeys(): Promise<void>
  /**
   * Refuses new requests, ends event streams after an event and waits with 202, lets requests finish for `graceMs`, then closes them.
   * Idempotent; a later call without grace closes them at once. @defaultValue 0
   */
  stop(graceMs?: number): Promise<void>
}

/** What a gateway must close when it stops. */
interface Parts {
  readonly pools: Pools
  readonly keys: BearerKeys | undefined
  readonly places: ReaderPlaces
}

/**
 * Serves jobs over HTTP; resolves when it listens.
 *
 * @throws {@link PoolError} `CONFIG` for options that do not fit together, a bad file of keys or an address that cannot be
 * bound; `REDIS_UNAVAILABLE`.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const settings = settle(options)
  const { bearerFile: file, logger } = settings
  const places = createReaderPlaces(settings)
  const onRemoved = (left: BearerKeys) => places.revoke((id) => left.has(id))
  const keys = file === undefined ? undefined : await openBearerKeys({ file, logger, onRemoved })
  let pools: Pools | undefined
  try {
    pools = await openPools({
      redisUrl: settings.redisUrl,
      prefix: settings.prefix,
      onJobEnd: (end) => logJobEnd(logger, end),
    })
    const parts = { pools, keys, places }
    return handleOf(await listen(settings, parts), parts)
  } catch (error) {
    keys?.close()
    await pools?.close()
    throw error
  }
}

async function listen(settings: GatewaySettings, { pools, keys, places }: Parts): Promise<HttpServer> {
  const { logger, redisTimeoutMs } = settings
  const log = createRequestLog(logger)
  const cors = createCors(settings.corsOrigins ?? [])
  const guard = { keys, cors, open: OPEN_ROUTES }
  const document = buildOpenApi()
  const streams = createEventStreams({
    ...settings,
    places,
    onFault: (error, jobId) => logger.warn({ err: error, job_id: jobId }, 'event stream failed'),
  })
  const finder = createPoolFinder(pools)
  const app = createApp({
    jobs: createJobRoutes({
      ...settings,
      finder,
      streams,
      places,
      log,
      mayCall: (caller) => keys === undefined || caller === undefined || keys.has(caller.id),
    }),
    lists: createListRoutes({ finder, log, redisTimeoutMs }),
    operator: createOperatorRoutes({ ...settings, finder, log }),
    pools: (context) =>
      inTime(redisTimeoutMs, async (signal) => context.json({ pools: await pools.list({ signal }) })),
    readiness: () =>
      inTime(redisTimeoutMs, (signal) => pools.ping({ signal })).then(
        () => ({ ready: true }),
        () => ({ ready: false, reason: 'Redis does not answer' }),
      ),
    admit: (incoming, route) => admit(incoming, route, guard),
    log,
    logger,
    openApi: JSON.stringify(document),
    docsPage: renderDocsPage(document),
  })
  return startHttpServer({
    app,
    host: settings.host,
    port: settings.port,
    portSetting: '--port or TGI_POOL_GATEWAY_PORT',
    hostSetting: '--host or TGI_POOL_GATEWAY_HOST',
    onRequest(incoming, outgoing) {
      log.begin(incoming, outgoing)
      cors.mark(incoming, outgoing)
    },
  })
}

function handleOf(server: HttpServer, { pools, keys, places }: Parts): Gateway {
  let stopped: Promise<void> | undefined

  async function stop(graceMs: number): Promise<void> {
    // Close the port first: a disconnected reader must not reconnect here.
    const closed = server.close(graceMs)
    places.end()
    await closed
    keys?.close()
    await pools.close()
  }

  return {
    url: server.url,
    host: server.host,
    port: server.port,
    get streams() {
      return places.size
    },
    reloadKeys: async () => keys?.reload(),
    stop(graceMs = 0) {
      if (stopped !== undefined) void server.close(graceMs)
      stopped ??= stop(graceMs)
      return stopped
    },
  }
}
