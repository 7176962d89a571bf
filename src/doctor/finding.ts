/**
 * What is looked at, by the name that a finding carries:
 *
 * | check | fault | warning |
 * |---|---|---|
 * | `redis-reachable` | no answer, no entry, its file is being loaded | |
 * | `redis-permissions` | | this user may not look at something |
 * | `redis-latency` | | PING takes above 5 ms in the median |
 * | `redis-version` | older than 7 | not known |
 * | `redis-mode` | a sentinel, or a Cluster that is not whole | |
 * | `redis-role` | a copy of another server | |
 * | `redis-eviction` | `maxmemory-policy` is not `noeviction` | keys were evicted |
 * | `redis-persistence` | writes are refused, or the file cannot be written | no append-only file, a rewrite failed |
 * | `redis-memory` | full | above 80 % |
 * | `redis-fragmentation` | | it takes half as much again as it holds |
 * | `redis-clients` | no room for one more | above 80 % |
 * | `redis-tls` | | passwords and prompts cross a network in the clear |
 * | `clock` | | Redis's clock and ours differ by more than 500 ms |
 * | `pools` | no list of pools can be read | a name in the list is none |
 * | `pool-config` | cannot be read, or there is no such pool | |
 * | `pool-registry` | the queue or the registry cannot be read | |
 * | `pool-workers` | jobs wait and no worker takes them | no worker, or none that is ready |
 * | `pool-queue` | full | above 80 %, or jobs wait beside free slots |
 * | `pool-paused` | BullMQ's queue is paused | |
 * | `pool-deadlines` | jobs are past their deadline and not ended | |
 * | `pool-locks` | jobs of dead workers, and no other worker | the same, with another worker |
 * | `pool-versions` | | replicas differ, and no pin says which is right |
 * | `replica-state` | `unhealthy`, `drifted`, or its registry entry cannot be read | `lost` |
 * | `replica-lease` | it never ends, or another worker has it | it is about to run out |
 * | `replica-worker` | | its worker has not reported for 3 s |
 * | `replica-slots` | | more slots are configured than the replica takes requests |
 * | `replica-address` | two workers serve one address: its slots are doubled | perhaps so, or one id has several addresses |
 * | `replica-reachable` | | it does not answer here, or answers as another replica than its worker reports |
 */
export type CheckName =
  | `redis-${'reachable' | 'permissions' | 'latency' | 'version' | 'mode' | 'role' | 'eviction' | 'persistence' | 'memory' | 'fragmentation' | 'clients' | 'tls'}`
  | 'clock'
  | 'pools'
  | `pool-${'config' | 'registry' | 'workers' | 'queue' | 'paused' | 'deadlines' | 'locks' | 'versions'}`
  | `replica-${'state' | 'lease' | 'worker' | 'slots' | 'address' | 'reachable'}`

/** `fault`: it does not work. `warning`: it works now, or could not be checked. */
type FindingStatus = 'ok' | 'warning' | 'fault'

/** What a check has found. */
export interface Finding {
  readonly check: CheckName
  /** `redis`, `pool <pool>` or `replica <pool>/<replica>`. */
  readonly subject: string
  readonly status: FindingStatus
  /** What is the case, with what was expected where it is not that. */
  readonly message: string
  /** A command or a setting that mends it. */
  readonly advice?: string | undefined
  /** What was measured, in the unit that the message names. */
  readonly value?: number | string | undefined
}

/** Judges on one subject. */
export interface Judge {
  ok(check: CheckName, message: string, value?: number | string): Finding
  warning(check: CheckName, message: string, advice?: string, value?: number | string): Finding
  fault(check: CheckName, message: string, advice?: string, value?: number | string): Finding
}

/** A judge on a subject. */
export function judgeOf(subject: string): Judge {
  return {
    ok: (check, message, value) => ({ check, subject, status: 'ok', message, value }),
    warning: (check, message, advice, value) => ({
      check,
      subject,
      status: 'warning',
      message,
      advice,
      value,
    }),
    fault: (check, message, advice, value) => ({ check, subject, status: 'fault', message, advice, value }),
  }
}

/** `1 job`, `2 jobs`. */
export function count(n: number, thing: string): string {
  return `${n} ${thing}${n === 1 ? '' : 's'}`
}
