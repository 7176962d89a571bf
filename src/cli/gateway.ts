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
  readonly maxStreams: number
  readonly maxStreamsPerCaller?: number
  readonly graceMs: number
  readonly logLevel: LogLevel
}

/** `tgi-pool gateway`: serves all pools over HTTP until it is stopped. */
export function addGateway(program: Command): void {
  const command = program
    .command('gateway')
    .description('Serve jobs and events of all pools over HTTP; /docs describes the routes')
    .addOption(
      new Option('--port <n>', 'port to listen on; 0 picks a free one')
        .env('TGI_POOL_GATEWAY_PORT')
        .argParser(integer(0, 65_535))
        .default(GATEWAY_DEFAULTS.port),
    )
    .addOption(
      new Option('--host <address>', 'address to listen on; any but loopback requires --bearer-file')
        .env('TGI_POOL_GATEWAY_HOST')
        .default(GATEWAY_DEFAULTS.host),
    )
    .addOption(
      new Option(
        '--bearer-file <file>',
        'file of bearer keys, one per line: key, name key or name+operate key (operate: may list jobs, drain replicas and delete pools); reloaded when it changes',
      ).env('TGI_POOL_BEARER_FILE'),
    )
    .addOption(
      new Option(
        '--cors-origins <origins>',
        'origins whose pages may call, e.g. https://a.example,https://b.example',
      )
        .env('TGI_POOL_CORS_ORIGINS')
        .argParser((text: string) => text.split(',').map((origin) => origin.trim())),
    )
    .addOption(
      new Option(
        '--max-streams <n>',
        'maximum open event streams and waits for an answer; beyond it, streams are refused with 503 and waits return 202 at once',
      )
        .env('TGI_POOL_MAX_STREAMS')
        .argParser(integer(1))
        .default(GATEWAY_DEFAULTS.maxStreams),
    )
    .addOption(
      new Option(
        '--max-streams-per-caller <n>',
        'the same per caller: the bearer keys of one name or, without keys, one client address; beyond it, streams are refused with 429 (default: half of --max-streams; without keys all)',
      )
        .env('TGI_POOL_MAX_STREAMS_PER_CALLER')
        .argParser(integer(1)),
    )
    .addOption(
      new Option('--grace-ms <ms>', 'grace period for open requests on shutdown, in ms')
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
