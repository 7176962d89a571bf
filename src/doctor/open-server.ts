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

/** How long the second look at a server that let nobody in may take (ms). */
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
    return 'end the script: redis-cli -u <REDIS_URL of an operator> SCRIPT KILL; one that has written ends only with SHUTDOWN NOSAVE'
  if (/max number of clients/i.test(message)) return 'redis-cli CONFIG SET maxclients <n>'
  // How a server that has no room hangs up before its refusal is read.
  if (/EPIPE|ECONNRESET|Connection is closed/.test(message))
    return "look at the server's log: it hung up, perhaps for having as many connections as maxclients allows"
  if (/no answer within/.test(message)) return 'look whether it is frozen, or a firewall is between'
  if (/ENOTFOUND|EAI_AGAIN/.test(message)) return 'REDIS_URL: check the name of the host'
  return 'start Redis there, or set REDIS_URL to where it is'
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
          'a node of a Cluster that is not whole: keys are refused',
          'redis-cli CLUSTER INFO and CLUSTER NODES: every slot must have its primary',
          'cluster',
        )
      : undefined
  } catch {
    return undefined
  } finally {
    disconnectRedis(line)
  }
}
