import { Option } from 'commander'
import type { Command } from 'commander'
import type { LogLevel } from '../runtime/log.ts'
import { WORKER_DEFAULTS } from '../worker/worker-options.ts'
import {
  cliLogger,
  integer,
  readApiKey,
  replicaAddress,
  warnOfPassword,
  withLog,
  withPool,
} from './options.ts'
import type { PoolFlags } from './options.ts'

interface WorkerFlags extends PoolFlags {
  readonly replica: string
  readonly replicaId?: string
  readonly slots: number
  readonly graceMs: number
  readonly healthPort?: number
  readonly healthHost: string
  readonly logLevel: LogLevel
}

/** `tgi-pool worker`: serves one replica until it is stopped. */
export function addWorker(program: Command): void {
  const command = program
    .command('worker')
    .description(
      "Serve a pool's queue with one replica; Ctrl-C or SIGTERM drains, a second one hands back at once",
    )
    .addOption(
      new Option('--replica <url>', 'replica base URL, e.g. http://gpu-1:8080')
        .env('TGI_REPLICA')
        .argParser(replicaAddress)
        .makeOptionMandatory(),
    )
    .addOption(new Option('--replica-id <id>', 'replica id (default: host-port)').env('TGI_REPLICA_ID'))
    .addOption(
      new Option('--slots <n>', 'most requests open at once; never more than the replica allows')
        .env('TGI_POOL_SLOTS')
        .argParser(integer(1, 10_000))
        .default(WORKER_DEFAULTS.slots),
    )
    .addOption(
      new Option('--grace-ms <ms>', 'grace period for running jobs on shutdown, in ms')
        .env('TGI_POOL_GRACE_MS')
        .argParser(integer(0))
        .default(WORKER_DEFAULTS.graceMs),
    )
    .addOption(
      new Option('--health-port <n>', 'port of /livez and /readyz (default: none); 0 picks a free one')
        .env('TGI_POOL_HEALTH_PORT')
        .argParser(integer(0, 65_535)),
    )
    .addOption(
      new Option('--health-host <address>', 'address of /livez and /readyz')
        .env('TGI_POOL_HEALTH_HOST')
        .default('127.0.0.1'),
    )
    .addHelpText(
      'after',
      "\nThe replica's API key is read from TGI_API_KEY, or from the file that TGI_API_KEY_FILE names.",
    )
  withLog(withPool(command)).action(async (flags: WorkerFlags) => {
    warnOfPassword(flags.redis)
    const { serveWorker } = await import('../worker/serve.ts')
    await serveWorker(
      {
        redisUrl: flags.redis,
        pool: flags.pool,
        prefix: flags.prefix,
        replicaUrl: flags.replica,
        replicaId: flags.replicaId,
        slots: flags.slots,
        apiKey: await readApiKey(process.env),
        logger: cliLogger('worker', flags.logLevel),
      },
      flags.graceMs,
      flags.healthPort === undefined ? undefined : { host: flags.healthHost, port: flags.healthPort },
    )
  })
}
