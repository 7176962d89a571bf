import { z } from 'zod'

const number = z.coerce.number().finite().optional().catch(undefined)
const flag = z
  .enum(['0', '1', 'no', 'yes'])
  .transform((value) => value === '1' || value === 'yes')
  .optional()
  .catch(undefined)
const word = z.string().min(1).optional().catch(undefined)

const infoSchema = z.object({
  redis_version: word,
  valkey_version: word,
  server_name: word,
  redis_mode: word,
  role: word,
  master_link_status: word,
  cluster_enabled: flag,
  loading: flag,
  loading_loaded_perc: number,
  connected_clients: number,
  maxclients: number,
  used_memory: number,
  mem_not_counted_for_evict: number,
  maxmemory: number,
  maxmemory_policy: word,
  total_system_memory: number,
  mem_fragmentation_ratio: number,
  aof_enabled: flag,
  aof_last_write_status: word,
  aof_last_bgrewrite_status: word,
  rdb_last_bgsave_status: word,
  evicted_keys: number,
})

/** What INFO reports, as far as it matters here. A field that the server does not report is absent. */
export type ServerInfo = z.infer<typeof infoSchema>

const configSchema = z.object({
  save: z.string().optional(),
  appendfsync: word,
  'stop-writes-on-bgsave-error': flag,
  maxmemory: number,
  'maxmemory-policy': word,
  maxclients: number,
  appendonly: flag,
})

/** What CONFIG GET reports, as far as it matters here. */
export type ServerConfig = z.infer<typeof configSchema>

/** The settings to ask for: what INFO does not report, or not to every user. */
export const CONFIG_NAMES = Object.keys(configSchema.shape) as readonly (keyof ServerConfig)[]

/** Reads the answer of INFO: `name:value` lines under `# Section` heads (redis.io/docs/latest/commands/info). */
export function parseServerInfo(text: string): ServerInfo {
  const lines = text.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#'))
  const fields = lines.map((line) => [
    line.slice(0, line.indexOf(':')),
    line.slice(line.indexOf(':') + 1).trim(),
  ])
  return infoSchema.parse(Object.fromEntries(fields))
}

/** Reads the answer of CONFIG GET: names and values in turn, or a map by RESP3. */
export function parseServerConfig(reply: unknown): ServerConfig {
  if (!Array.isArray(reply)) return configSchema.parse(reply ?? {})
  const pairs = reply.flatMap((name: unknown, at) =>
    at % 2 === 0 ? [[String(name), reply[at + 1] as unknown]] : [],
  )
  return configSchema.parse(Object.fromEntries(pairs))
}

/** Which program answers. */
export interface Product {
  readonly name: 'Redis' | 'Valkey'
  /** Its own; Valkey calls itself Redis 7.2.4 beside that, for clients that look (valkey src/version.h). */
  readonly version: string | undefined
  readonly major: number | undefined
}

/** Distinguishes Valkey from Redis. */
export function productOf(info: ServerInfo): Product {
  const isValkey = info.valkey_version !== undefined || info.server_name === 'valkey'
  const version = isValkey ? (info.valkey_version ?? info.redis_version) : info.redis_version
  const major = Number(/^(\d+)\./.exec(version ?? '')?.[1] ?? Number.NaN)
  return { name: isValkey ? 'Valkey' : 'Redis', version, major: Number.isNaN(major) ? undefined : major }
}
