import type { ReplicaFacts } from '../metrics/pool-facts.ts'
import type { Finding } from './finding.ts'
import { judgeOf } from './finding.ts'
import { showAddress } from './replica-look.ts'
import { isUnreadable } from '../replica/registry.ts'
import { isLoopback } from '../runtime/loopback.ts'
import { addressKey } from '../tgi/address.ts'

/**
 * Finds ids with several addresses, of which only one is served, and addresses with several ids or in several pools. Each id has a
 * lease and all its slots, so such a server gets more requests than intended. A loopback address may be another server on another
 * machine.
 *
 * @param all - replicas of all pools.
 */
export function judgeAddresses(all: readonly ReplicaFacts[]): Finding[] {
  const alive = all.filter(
    ({ entry, standbys }) => !isUnreadable(entry) && (entry.state !== 'lost' || standbys > 0),
  )
  const groups = Map.groupBy(alive, ({ entry }) => addressKey(entry.url))
  return [...groups.values()].flatMap((group) => group.map((replica) => judgeAddress(replica, group)))
}

function judgeAddress(replica: ReplicaFacts, group: readonly ReplicaFacts[]): Finding {
  const judge = judgeOf(`replica ${name(replica)}`)
  const url = showAddress(replica.entry.url)
  const apart = replica.standbyUrls.filter((other) => addressKey(other) !== addressKey(replica.entry.url))
  if (apart.length > 0) {
    const urls = [...new Set(apart.map(showAddress))].join(', ')
    return judge.warning(
      'replica-address',
      `one id has several addresses: ${url} is served, the worker for ${urls} stands by`,
      'give each replica an id of its own with --replica-id, unless these addresses lead to one server',
      apart.length,
    )
  }
  const others = group.filter((other) => other !== replica).map(name)
  if (others.length === 0) return judge.ok('replica-address', `no other worker serves ${url}`)
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
