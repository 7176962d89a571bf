import { setTimeout as sleep } from 'node:timers/promises'
import { onEndSignals } from '../runtime/signals.ts'
import type { MetricsOptions } from './metrics-options.ts'
import { startMetricsServer } from './server.ts'

/**
 * How long the process is there after a signal (ms). Under npm one Ctrl-C arrives twice within 2 ms, and closing may
 * take less: a Node that is on its way out dies of the second one, by signal and not with 0.
 */
const LINGER_MS = 500

/** Serves metrics until SIGTERM or SIGINT. One that comes while it starts is obeyed as soon as it has. */
export async function serveMetrics(options: MetricsOptions): Promise<void> {
  const { logger } = options
  const asked = Promise.withResolvers<NodeJS.Signals>()
  // Closing takes a second at most: a second signal has nothing to hasten.
  const stopListening = onEndSignals({ onFirst: asked.resolve, onSecond: () => undefined })
  try {
    const server = await startMetricsServer(options)
    logger.info({ url: `${server.url}/metrics` }, 'metrics server started')
    const signal = await asked.promise
    await Promise.all([server.close(), sleep(LINGER_MS)])
    logger.info({ signal }, 'metrics server stopped')
  } finally {
    stopListening()
  }
}
