import { Option } from 'commander'
import type { Command } from 'commander'
import { METRICS_DEFAULTS } from '../metrics/metrics-options.ts'
import type { LogLevel } from '../runtime/log.ts'
import { cliLogger, integer, readApiKey, warnOfPassword, withKey, withLog, withRedis } from './options.ts'
import type { KeyFlags, RedisFlags } from './options.ts'

interface MetricsFlags extends RedisFlags, KeyFlags {
  readonly port: number
  readonly host: string
  readonly bearerFile?: string
  readonly logLevel: LogLevel
}

/** `tgi-pool metrics`: serves the metrics of all pools and replicas until it is stopped. */
export function addMetrics(program: Command): void {
  const command = program
    .command('metrics')
    .description(
      'Serve /metrics for Prometheus: all pools and the metrics of their replicas; Ctrl-C stops it',
    )
    .addOption(
      new Option('--port <n>', 'port to listen on; 0 picks a free one')
        .env('TGI_POOL_METRICS_PORT')
        .argParser(integer(0, 65_535))
        .default(METRICS_DEFAULTS.port),
    )
    .addOption(
      new Option('--host <address>', 'address to listen on; any but loopback requires --bearer-file')
        .env('TGI_POOL_METRICS_HOST')
        .default(METRICS_DEFAULTS.host),
    )
    .addOption(
      new Option(
        '--bearer-file <file>',
        'file of bearer keys for scrapers, one per line: key or name key; reloaded when it changes',
      ).env('TGI_POOL_METRICS_BEARER_FILE'),
    )
  withLog(withKey(withRedis(command))).action(async (flags: MetricsFlags) => {
    warnOfPassword(flags.redis)
    const { serveMetrics } = await import('../metrics/serve.ts')
    await serveMetrics({
      redisUrl: flags.redis,
      prefix: flags.prefix,
      host: flags.host,
      port: flags.port,
      bearerFile: flags.bearerFile,
      apiKey: await readApiKey(process.env),
      apiKeyFor: flags.apiKeyFor,
      logger: cliLogger('metrics', flags.logLevel),
    })
  })
}
