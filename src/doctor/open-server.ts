import { Redis } from 'ioredis'
import { PoolError } from '../contract/error.ts'
import { redactUrl } from '../redis/address.ts'
import { connectRedis, disconnectRedis } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { within } from '../runtime/within.ts'
import { isSentinelAddress } from '../redis/sentinel-address.ts'
import type { Finding } from './finding.ts'
import { judgeOf } from './finding.ts'
import { loadingFault } from './judge-server.ts'
import { parseServerInfo } from './server-info.ts'

const redis = judgeOf('redis')

/** How long the second attempt at a server that refused the first may take (ms). */
const SECOND_LOOK_MS = 1000

/**
 * Connects, or says why that cannot be.
 *
 * @throws {@link PoolError} `CONFIG` for an address that is none.
 */
export async function openServer(
  url: string,
  connectTimeoutMs: number,
): Promise<{ redis: RedisConnection } | { finding: Finding }> {
  try {
    return { redis: await connectRedis(url, { role: 'commands', connectTimeoutMs }) }
  } catch (error) {
    if (!(error instanceof PoolError) || error.kind !== 'REDIS_UNAVAILABLE') throw error
    const known = await lookOnce(url)
    return { finding: known ?? redis.fault('redis-reachable', error.message, adviceOn(error.message)) }
  }
}

function adviceOn(message: string): string {
  if (/NOAUTH|WRONGPASS|invalid password|refuses the user/i.test(message))
    return 'set REDIS_URL to redis://<user>:<password>@<host>:<port>'
  if (/BUSY/.test(message))
    return 'kill the script: redis-cli -u <REDIS_URL of an operator> SCRIPT KILL; a script that has written ends only with SHUTDOWN NOSAVE'
  if (/max number of clients/i.test(message)) return 'redis-cli CONFIG SET maxclients <n>'
  // How a server that has no room hangs up before its refusal is read.
  if (/EPIPE|ECONNRESET|Connection is closed/.test(message))
    return "check the server's log: it closed the connection, perhaps because maxclients is reached"
  if (/no answer within/.test(message)) return 'check whether it hangs, or a firewall blocks it'
  if (/ENOTFOUND|EAI_AGAIN/.test(message)) return 'check the host name in REDIS_URL'
  return 'start Redis there, or set REDIS_URL to its address'
}

/**
 * The driver waits until a server has loaded its data and until its Cluster is whole, and we do not: such a one refuses
 * PING or keys, and answers INFO.
 */
async function lookOnce(url: string): Promise<Finding | undefined> {
  if (isSentinelAddress(url)) return undefined
  const line = new Redis(url, {
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    connectTimeout: SECOND_LOOK_MS,
  })
  line.on('error', () => undefined)
  const asked = line.connect().then(() => line.info())
  try {
    if (!(await within(asked, SECOND_LOOK_MS))) return undefined
    const info = parseServerInfo(await asked)
    if (info.loading === true) return loadingFault(redactUrl(url), info.loading_loaded_perc)
    return info.cluster_enabled === true
      ? redis.fault(
          'redis-mode',
          'a node of an incomplete Cluster: it refuses keys',
          'redis-cli CLUSTER INFO and CLUSTER NODES: every slot needs a primary',
          'cluster',
        )
      : undefined
  } catch {
    return undefined
  } finally {
    disconnectRedis(line)
  }
}
