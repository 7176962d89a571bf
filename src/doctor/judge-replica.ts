import type { ReplicaEntry } from '../contract/replica-entry.ts'
import { REGISTRY_BEAT_MS, isUnreadable } from '../replica/registry.ts'
import type { Finding, Judge } from './finding.ts'
import { judgeOf } from './finding.ts'
import { showAddress } from './replica-look.ts'
import type { LeaseLook, ReachLook } from './replica-look.ts'
import { shellWord } from '../runtime/shell-word.ts'

/** What was seen of a replica. */
export interface ReplicaSight {
  readonly poolId: string
  readonly entry: ReplicaEntry
  readonly standbys: number
  readonly lease: LeaseLook | undefined
  /** How long ago its worker last reported, by Redis's clock (ms). */
  readonly ageMs: number
  readonly reach: ReachLook
  /** Of the registry's HASH and of the lease. */
  readonly keys: { readonly registry: string; readonly lease: string }
}

/** A worker that misses three beats hangs, or its connection does. */
const SILENT_MS = 3 * REGISTRY_BEAT_MS
/** A lease lasts 5 s and is renewed every quarter of it (replica/lease.ts). */
const SHORT_LEASE_MS = 1000

/** Holds what was seen of a replica, its worker and its lease against what should be. Pure. */
export function judgeReplica(sight: ReplicaSight): Finding[] {
  const judge = judgeOf(`replica ${sight.poolId}/${sight.entry.replica_id}`)
  if (isUnreadable(sight.entry)) return [unreadable(judge, sight)]
  return [
    state(judge, sight),
    lease(judge, sight),
    word(judge, sight),
    slots(judge, sight),
    reachable(judge, sight),
  ].filter((finding) => finding !== undefined)
}

function unreadable(judge: Judge, { entry, keys }: ReplicaSight): Finding {
  return judge.fault(
    'replica-state',
    `${entry.state}: ${entry.reason ?? ''}`,
    `redis-cli HDEL ${shellWord(keys.registry)} ${shellWord(entry.replica_id)}; a worker that serves it writes a new entry`,
    entry.state,
  )
}

function state(judge: Judge, sight: ReplicaSight): Finding {
  const { entry, poolId, standbys } = sight
  const because = entry.reason === undefined ? '' : `: ${entry.reason}`
  const by = standbys === 0 ? '' : `, ${standbys} standing by`
  const message = `${entry.state}${because}${by}`
  switch (entry.state) {
    case 'unhealthy':
      return judge.fault(
        'replica-state',
        message,
        wantsKey(entry.reason)
          ? `start its worker with ${KEY_ADVICE}`
          : `check the TGI server at ${showAddress(entry.url)} and its log`,
        entry.state,
      )
    case 'drifted':
      return judge.fault(
        'replica-state',
        message,
        `deploy the pinned build, or tgi-pool pool set pin='{…}' --pool ${shellWord(poolId)}`,
        entry.state,
      )
    case 'lost':
      return judge.warning('replica-state', message, lostAdvice(sight), entry.state)
    case 'ready':
    case 'draining':
    case 'window':
    case 'standby':
      return judge.ok('replica-state', message, entry.state)
  }
}

const KEY_ADVICE = 'TGI_API_KEY (or TGI_API_KEY_FILE) set to the key that the server was started with'

/** Whether a replica, or a proxy in front of it, refused the key, by the TGI client's message. */
function wantsKey(reason: string | undefined): boolean {
  return /API key|\bHTTP 40[13]\b/.test(reason ?? '')
}

function lostAdvice({ entry, poolId, keys }: ReplicaSight): string {
  const { replica_id: id, url } = entry
  const address = shellWord(showAddress(url))
  return `tgi-pool worker --pool ${shellWord(poolId)} --replica ${address} --replica-id ${shellWord(id)}; if it is gone for good: redis-cli HDEL ${shellWord(keys.registry)} ${shellWord(id)}`
}

function lease(judge: Judge, { entry, keys, lease: seen }: ReplicaSight): Finding | undefined {
  if (entry.state === 'lost' || entry.state === 'standby') {
    if (seen === undefined || entry.state === 'standby') return undefined
    return judge.warning(
      'replica-lease',
      `worker ${seen.holder} holds the lease but does not report the replica`,
      'run doctor again in a second; if it stays, restart that worker',
      seen.holder,
    )
  }
  if (seen === undefined) {
    return judge.warning(
      'replica-lease',
      'its lease has just expired',
      "run doctor again, and check the worker's log",
    )
  }
  if (seen.ttlMs === undefined) {
    return judge.fault(
      'replica-lease',
      `the lease of worker ${seen.holder} never expires, so no other worker can take over`,
      `redis-cli DEL ${shellWord(keys.lease)}; its worker acquires it again`,
      seen.holder,
    )
  }
  if (seen.holder !== entry.worker_id) {
    return judge.fault(
      'replica-lease',
      `worker ${entry.worker_id} reports the replica, but worker ${seen.holder} holds the lease`,
      'run doctor again; if it stays, restart both workers',
      seen.holder,
    )
  }
  const message = `worker ${seen.holder} holds the lease, which expires in ${seen.ttlMs} ms`
  if (seen.ttlMs >= SHORT_LEASE_MS) return judge.ok('replica-lease', message, seen.ttlMs)
  return judge.warning(
    'replica-lease',
    `${message} and is not renewed`,
    "check the worker's log: the worker or its connection to Redis hangs",
    seen.ttlMs,
  )
}

function word(judge: Judge, { entry, ageMs }: ReplicaSight): Finding | undefined {
  if (entry.state === 'lost') return undefined
  const message = `its worker last reported ${Math.max(0, Math.round(ageMs))} ms ago`
  if (ageMs <= SILENT_MS) return judge.ok('replica-worker', message, ageMs)
  const advice = "check the worker's log: the worker or its connection to Redis hangs"
  return judge.warning('replica-worker', `${message}; expected every ${REGISTRY_BEAT_MS} ms`, advice, ageMs)
}

function slots(judge: Judge, { entry }: ReplicaSight): Finding | undefined {
  const max = entry.versions?.max_concurrent_requests
  if (max === undefined) return undefined
  const { slots_configured: configured } = entry
  const message = `${configured} slots configured; the replica takes ${max} requests at once`
  if (configured <= max) return judge.ok('replica-slots', message, configured)
  return judge.warning(
    'replica-slots',
    `${message}: only ${max} are used`,
    `start the worker with --slots ${max}, or TGI with --max-concurrent-requests ${configured}`,
    configured,
  )
}

function reachable(judge: Judge, { entry, reach }: ReplicaSight): Finding {
  const url = showAddress(entry.url)
  if (!reach.reached) {
    const worker =
      entry.state === 'ready' || entry.state === 'draining' || entry.state === 'window'
        ? 'but its worker reaches it; perhaps this machine is not supposed to'
        : `and its worker reports ${entry.state}`
    return judge.warning(
      'replica-reachable',
      `not reached from here (${reach.reason}), ${worker}`,
      wantsKey(reach.reason)
        ? `run doctor with ${KEY_ADVICE}, and TGI_API_KEY_FOR=${shellWord(url)}`
        : `curl -i ${shellWord(`${url}/health`)}, here and where the worker runs`,
    )
  }
  const { versions } = entry
  const same = versions === null || versions.engine_version === reach.engineVersion
  if (same && (versions === null || versions.model_id === reach.modelId)) {
    return judge.ok('replica-reachable', `${url} answers: ${reach.engineVersion}, ${reach.modelId}`)
  }
  return judge.warning(
    'replica-reachable',
    `from here ${url} runs ${reach.engineVersion}, ${reach.modelId}; its worker reports ${versions.engine_version}, ${versions.model_id}`,
    'run doctor again: it may have just restarted; otherwise the address leads elsewhere from here',
  )
}
