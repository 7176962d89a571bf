import { PoolError } from '../contract/error.ts'
import { startGateway } from '../gateway/gateway.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { GATEWAY_DEFAULTS } from '../gateway/options.ts'
import { createLogger } from '../runtime/log.ts'

/** A gateway on this machine's loopback: at the port that README names, or on any free one if that is taken. */
export async function startDemoGateway(redisUrl: string): Promise<Gateway> {
  const logger = createLogger('gateway', 'error', { pretty: process.stderr.isTTY })
  try {
    return await startGateway({ redisUrl, port: GATEWAY_DEFAULTS.port, logger })
  } catch (error) {
    if (!(error instanceof PoolError) || error.kind !== 'CONFIG') throw error
    return startGateway({ redisUrl, port: 0, logger })
  }
}
