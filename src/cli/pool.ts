import type { Command } from 'commander'
import { jsonLine } from '../contract/json-line.ts'
import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import { poolConfigSchema } from '../contract/pool-config.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { PoolConfigChange } from '../pool/config-store.ts'
import { addDeletePool } from './delete-pool.ts'
import { usingPool, warnOfPassword, withPool, withRedis } from './options.ts'
import type { PoolFlags, RedisFlags } from './options.ts'
import { errLine, outLine } from './print.ts'

interface JsonFlag {
  readonly json?: boolean
}

/** `tgi-pool pool create|show|set|list|delete`. */
export function addPool(program: Command): void {
  const pool = program.command('pool').description('Create, show, change and delete pools')
  const settings = `settings: ${Object.keys(poolConfigSchema.shape).join(', ')}`
  addVerb(pool, 'create', 'Create a pool; an existing pool keeps its settings', settings, (client, change) =>
    client.create(change),
  )
  addVerb(pool, 'set', "Change a pool's settings", settings, (client, change) => client.set(change))
  withPool(pool.command('show').description("A pool's settings").option('--json', 'as JSON')).action(
    async (flags: PoolFlags & JsonFlag) => {
      print(await usingPool(flags, (client) => client.config()), flags)
    },
  )
  withRedis(pool.command('list').description('List all pools').option('--json', 'one JSON array')).action(
    async (flags: RedisFlags & JsonFlag) => {
      warnOfPassword(flags.redis)
      const { connectRedis } = await import('../redis/connect.ts')
      const { listPools } = await import('../pool/config-store.ts')
      const redis = await connectRedis(flags.redis, { role: 'commands' })
      try {
        const pools = await listPools(redis, flags.prefix)
        if (flags.json === true) outLine(jsonLine(pools))
        else for (const { pool_id: id } of pools) outLine(id)
        for (const { error } of pools) if (error !== undefined) errLine(`tgi-pool: ${error}`)
      } finally {
        redis.disconnect()
      }
    },
  )
  addDeletePool(pool)
}

function addVerb(
  pool: Command,
  name: string,
  description: string,
  settings: string,
  run: (client: PoolClient, change: PoolConfigChange) => Promise<PoolConfig>,
): void {
  const command = pool
    .command(name)
    .description(description)
    .argument('[setting=value...]', settings)
    .option('--json', 'as JSON')
  withPool(command).action(async (pairs: string[], flags: PoolFlags & JsonFlag) => {
    const change = parseSettings(pairs)
    print(await usingPool(flags, (client) => run(client, change)), flags)
  })
}

/** Reads `name=value`, the value as JSON; anything else is a plain string. */
function parseSettings(pairs: readonly string[]): PoolConfigChange {
  const entries = pairs.map((pair) => {
    const [, name, text] = /^([a-z_]+)=(.*)$/s.exec(pair) ?? []
    if (name === undefined || text === undefined) {
      throw new PoolError('INVALID_PARAMS', `expected setting=value, got ${JSON.stringify(pair)}`)
    }
    return [name, parseValue(text)]
  })
  return Object.fromEntries(entries) as PoolConfigChange
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function print(config: PoolConfig, flags: JsonFlag): void {
  if (flags.json === true) {
    outLine(jsonLine(config))
    return
  }
  for (const [name, value] of Object.entries(config)) {
    outLine(`${name.padEnd(24)} ${jsonLine(value)}`)
  }
}
