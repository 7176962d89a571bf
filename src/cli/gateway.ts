import { Option } from 'commander'
import type { Command } from 'commander'
import { GATEWAY_DEFAULTS } from '../gateway/options.ts'
import type { LogLevel } from '../runtime/log.ts'
import { cliLogger, integer, warnOfPassword, withLog, withRedis } from './options.ts'
import type { RedisFlags } from './options.ts'

interface GatewayFlags extends RedisFlags {
  readonly port: number
  readonly host: string
  readonly bearerFile?: string
  readonly corsOrigins?: readonly string[]
  readonly graceMs: number
  readonly logLevel: LogLevel
}

/** `tgi-pool gateway`: serves all pools over HTTP until it is told to stop. */
export function addGateway(program: Command): void {
  const command = program
    .command('gateway')
    .description('Serve jobs and their events over HTTP, of all pools; what it speaks stands at /docs')
    .addOption(
      new Option('--port <n>', 'where to listen; 0 finds a free port')
        .env('TGI_POOL_GATEWAY_PORT')
        .argParser(integer(0, 65_535))
        .default(GATEWAY_DEFAULTS.port),
    )
    .addOption(
      new Option('--host <address>', 'where to listen; one that others can reach needs --bearer-file')
        .env('TGI_POOL_GATEWAY_HOST')
        .default(GATEWAY_DEFAULTS.host),
    )
    .addOption(
      new Option('--bearer-file <file>', 'bearer keys, one a line; read again when it changes').env(
        'TGI_POOL_BEARER_FILE',
      ),
    )
    .addOption(
      new Option('--cors-origins <origins>', 'pages that may call, e.g. https://a.example,https://b.example')
        .env('TGI_POOL_CORS_ORIGINS')
        .argParser((text: string) => text.split(',').map((origin) => origin.trim())),
    )
    .addOption(
      new Option('--grace-ms <ms>', 'how long requests may take to finish when it stops')
        .env('TGI_POOL_GATEWAY_GRACE_MS')
        .argParser(integer(0))
        .default(GATEWAY_DEFAULTS.graceMs),
    )
  withLog(withRedis(command)).action(async (flags: GatewayFlags) => {
    warnOfPassword(flags.redis)
    const { serveGateway } = await import('../gateway/serve.ts')
    const { redis: redisUrl, graceMs, logLevel, ...rest } = flags
    await serveGateway({ ...rest, redisUrl, logger: cliLogger('gateway', logLevel) }, graceMs)
  })
}
