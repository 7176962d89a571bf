import { onEndSignals } from '../runtime/signals.ts'
import { startGateway } from './gateway.ts'
import type { Gateway } from './gateway.ts'
import type { GatewayOptions } from './options.ts'

/**
 * Starts a gateway and serves until SIGTERM or SIGINT: event streams end after an event, requests get the grace time; a
 * second signal cuts them. SIGHUP reads the file of bearer keys again.
 */
export async function serveGateway(options: GatewayOptions, graceMs: number): Promise<void> {
  const { logger } = options
  const asked = Promise.withResolvers<number>()
  let gateway: Gateway | undefined
  const stopListening = onEndSignals({
    onFirst: (signal) => {
      logger.info(
        { signal, streams: gateway?.streams, grace_ms: graceMs },
        'stopping; signal again to close streams at once',
      )
      asked.resolve(graceMs)
    },
    onSecond: (signal) => {
      logger.warn({ signal }, 'closing streams at once')
      void gateway?.stop(0)
    },
  })
  const onHangUp = () => void gateway?.reloadKeys()
  process.on('SIGHUP', onHangUp)
  try {
    gateway = await startGateway(options)
    logger.info({ url: gateway.url, keys: options.bearerFile !== undefined }, 'gateway started')
    await gateway.stop(await asked.promise)
    logger.info('gateway stopped')
  } finally {
    process.off('SIGHUP', onHangUp)
    stopListening()
  }
}
