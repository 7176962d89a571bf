import type { ReplicaFacts } from '../metrics/pool-facts.ts'
import type { Finding } from './finding.ts'
import { judgeOf } from './finding.ts'
import { showAddress } from './replica-look.ts'
import { isLoopback } from '../runtime/loopback.ts'

/**
 * Finds replicas that are one: the same address under several ids, or in several pools. Each has a lease and all its
 * slots, so the server gets more requests than anybody meant. An address of loopback may be another server on another
 * machine.
 *
 * @param all - replicas of all pools.
 */
export function judgeAddresses(all: readonly ReplicaFacts[]): Finding[] {
  const alive = all.filter(({ entry, standbys }) => entry.state !== 'lost' || standbys > 0)
  const groups = Map.groupBy(alive, ({ entry }) => addressOf(entry.url))
  return [...groups.values()].flatMap((group) => group.map((replica) => judgeAddress(replica, group)))
}

function judgeAddress(replica: ReplicaFacts, group: readonly ReplicaFacts[]): Finding {
  const judge = judgeOf(`replica ${name(replica)}`)
  const url = showAddress(replica.entry.url)
  const others = group.filter((other) => other !== replica).map(name)
  if (others.length === 0) return judge.ok('replica-address', `nobody else serves ${url}`)
  const slots = group.reduce((sum, { entry }) => sum + entry.slots, 0)
  const message = `${url} is also served as ${others.join(', ')}: ${slots} slots together`
  if (URL.canParse(url) && isLoopback(new URL(url).hostname)) {
    const advice = 'stop all but one of these workers, unless they run on different machines'
    return judge.warning('replica-address', `${message}, if that is one machine`, advice, slots)
  }
  return judge.fault('replica-address', message, 'stop all but one of these workers', slots)
}

function name({ poolId, entry }: ReplicaFacts): string {
  return `${poolId}/${entry.replica_id}`
}

/** An address such that two spellings of one compare equal. */
function addressOf(url: string): string {
  if (!URL.canParse(url)) return url
  const { protocol, hostname, port, pathname } = new URL(url)
  const host = isLoopback(hostname) ? 'localhost' : hostname
  const number = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  return `${host}:${number}${pathname.replace(/\/+$/, '')}`
}
