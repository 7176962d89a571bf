import { pino } from 'pino'
import { startGateway } from '../../src/gateway/gateway.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import type { GatewayOptions } from '../../src/gateway/options.ts'
import { describeError } from '../../src/runtime/log.ts'
import { test as base } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'

/** A gateway on the lab's Redis, in this process. */
export interface TestGateway extends Gateway {
  /** What it has logged. */
  readonly lines: readonly Record<string, unknown>[]
}

/** Starts a gateway; the caller stops it. */
export async function openGateway(
  redisUrl: string,
  options: Partial<GatewayOptions> = {},
): Promise<TestGateway> {
  const lines: Record<string, unknown>[] = []
  const logger = pino(
    { level: 'trace', serializers: { err: describeError } },
    { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  )
  const gateway = await startGateway({ redisUrl, port: 0, logger, ...options })
  return Object.assign(gateway, { lines })
}

/** Starts gateways on the lab's Redis, and stops them. */
export type StartGateway = (options?: Partial<GatewayOptions>) => Promise<TestGateway>

/** `test` with a lab and `gateway`, which starts one. */
export const test = base.extend(
  'gateway',
  async ({ lab }: { lab: Lab }, { onCleanup }): Promise<StartGateway> => {
    const started: TestGateway[] = []
    onCleanup(async () => {
      await Promise.all(started.map((gateway) => gateway.stop()))
    })
    return async (options) => {
      const gateway = await openGateway(lab.redisUrl, options)
      started.push(gateway)
      return gateway
    }
  },
)
