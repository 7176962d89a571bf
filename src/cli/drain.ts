import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { jsonLine } from '../contract/json-line.ts'
import type { DrainOutcome, UndrainOutcome } from '../client/drain.ts'
import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import { MAX_GRACE_MS } from '../contract/limits.ts'
import { withInterrupt } from './interrupt.ts'
import { integer, usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { startWaiting } from './progress.ts'
import { errLine, outLine } from './print.ts'
import { shellWord } from '../runtime/shell-word.ts'

interface DrainFlags extends PoolFlags {
  readonly graceMs?: number
  readonly wait?: boolean
  readonly json?: boolean
}

/** How often to check whether the replica is still busy (ms). */
const LOOK_MS = 100
/** How long its worker may take to see the request: several heartbeats (ms). */
const HEAR_MS = 5000

/** `tgi-pool drain`. */
export function addDrain(program: Command): void {
  const command = program
    .command('drain')
    .description('Stop a replica from taking jobs until it is undrained; survives worker restarts')
    .argument('<replica>', 'the replica id')
    .option(
      '--grace-ms <ms>',
      "grace period for running jobs, in ms; the rest is handed to other replicas (default: the worker's)",
      integer(0, MAX_GRACE_MS),
    )
    .option('--wait', 'wait until no job runs on the replica; Ctrl-C leaves it draining')
    .option('--json', 'the outcome as JSON')
  withPool(command).action(async (replicaId: string, flags: DrainFlags) => {
    await usingPool(flags, async (pool) => {
      const outcome = await (flags.wait === true
        ? drainToTheEnd(pool, replicaId, flags)
        : drain(pool, replicaId, flags))
      print(outcome, flags, `replica ${replicaId} ${wordsFor(outcome, flags.wait === true)}`)
    })
  })
}

async function drain(pool: PoolClient, replicaId: string, flags: DrainFlags): Promise<DrainOutcome> {
  const outcome = await pool.drain(replicaId, { graceMs: flags.graceMs })
  if (outcome.ready_replicas === 0) {
    errLine(`tgi-pool: warning: no other replica of pool ${pool.pool} is ready, so no worker takes its jobs`)
  }
  return outcome
}

/** Resolves when no job runs on the replica. */
async function drainToTheEnd(pool: PoolClient, replicaId: string, flags: DrainFlags): Promise<DrainOutcome> {
  let isWished = false
  return withInterrupt(
    async (signal) => {
      // Not interrupted, so that the message on Ctrl-C is true.
      const outcome = await drain(pool, replicaId, flags)
      isWished = true
      signal.throwIfAborted()
      await waitUntilIdle(pool, replicaId, signal)
      return outcome
    },
    async () => {
      const text = `replica ${replicaId} stays drained; tgi-pool undrain ${shellWord(replicaId)} brings it back`
      if (isWished) errLine(`tgi-pool: ${text}`)
    },
  )
}

/** `tgi-pool undrain`. */
export function addUndrain(program: Command): void {
  const command = program
    .command('undrain')
    .description('Let a drained replica take jobs again')
    .argument('<replica>', 'the replica id')
    .option('--json', 'the outcome as JSON')
  withPool(command).action(async (replicaId: string, flags: PoolFlags & { json?: boolean }) => {
    const outcome = await usingPool(flags, (pool) => pool.undrain(replicaId))
    const words = outcome.outcome === 'undrained' ? 'takes jobs again' : 'was not draining'
    print(outcome, flags, `replica ${replicaId} ${words}`)
  })
}

function print(outcome: DrainOutcome | UndrainOutcome, flags: { json?: boolean }, text: string): void {
  outLine(flags.json === true ? jsonLine(outcome) : text)
}

function wordsFor({ outcome }: DrainOutcome, waited: boolean): string {
  if (waited) return 'is drained: no job runs on it'
  return outcome === 'draining' ? 'is draining' : 'was already draining'
}

/** Resolves when no job runs on a draining replica; shows on a terminal how many are left. */
async function waitUntilIdle(pool: PoolClient, replicaId: string, signal: AbortSignal): Promise<void> {
  const progress = startWaiting(`draining replica ${replicaId}, jobs still running`)
  const from = performance.now()
  try {
    for (let heard = false; ; await pause(signal)) {
      const busy = await busyOn(pool, replicaId, signal)
      if (busy === 0) return
      if (busy !== undefined) progress.update(busy)
      else if (heard || performance.now() - from > HEAR_MS) throw notDraining(replicaId, heard)
      heard ||= busy !== undefined
    }
  } finally {
    progress.stop()
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  // The next call throws the reason of the signal.
  await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
}

/** How many attempts run on a replica that drains; undefined when its worker does not drain it. */
async function busyOn(pool: PoolClient, replicaId: string, signal: AbortSignal): Promise<number | undefined> {
  const entries = await pool.replicas({ signal })
  const served = entries.find(({ replica_id: id, state }) => id === replicaId && state !== 'standby')
  // Without a worker that holds it, nothing runs on it.
  if (served === undefined || served.state === 'lost') return 0
  return served.state === 'draining' ? served.busy : undefined
}

function notDraining(replicaId: string, heard: boolean): PoolError {
  return new PoolError(
    'POOL_UNREADY',
    heard
      ? `replica ${replicaId} was undrained in the meantime`
      : `the worker of replica ${replicaId} did not drain within ${HEAR_MS} ms: it was undrained, or its worker runs an older version that cannot drain`,
  )
}
