/** A gateway in a process of its own. What it is to serve comes as JSON in the first argument. */
import { startGateway } from '../../src/gateway/gateway.ts'
import { createLogger } from '../../src/runtime/log.ts'
import { serveParent } from '../support/weighed-child.ts'
import type { GatewaySettings } from './gateway-process.ts'

const settings = JSON.parse(process.argv[2] ?? '{}') as GatewaySettings
const gateway = await startGateway({ ...settings, port: 0, logger: createLogger('bench', 'error') })
serveParent({ url: gateway.url, busy: () => gateway.streams, stop: () => gateway.stop(0) })
