import type { GatewayOptions } from '../../src/gateway/options.ts'
import { IMAGE_FLAGS, startWeighedProcess } from '../support/weighed-process.ts'
import type { WeighedProcess } from '../support/weighed-process.ts'

/** Whom the gateway serves. */
export type GatewaySettings = Pick<GatewayOptions, 'redisUrl'>

/** Starts a gateway in a process of its own on a free port, whose log tells errors only. */
export async function startGatewayProcess(settings: GatewaySettings): Promise<WeighedProcess> {
  const script = new URL('gateway-child.ts', import.meta.url)
  return startWeighedProcess({ script, settings, nodeFlags: IMAGE_FLAGS })
}
