import { setTimeout as sleep } from 'node:timers/promises'
import { QueueKeys } from 'bullmq'
import { QUEUE_NAMES } from '../../src/contract/keys.ts'
import type { RestEvidence } from './evidence.ts'
import { checkRest } from './check-rest.ts'
import type { SimulatorProcess } from './simulator-process.ts'
import { KEYS } from './stage.ts'
import type { Stage } from './stage.ts'
import { allServe } from './worker-process.ts'

/** Takes back all that still strikes: every process runs, every line is up, no simulator has a fault to come. */
export async function heal(stage: Stage, signal: AbortSignal): Promise<void> {
  stage.consumerLine.pass()
  for (const line of stage.workerLines) line.pass()
  for (const simulator of stage.simulators) await clearFaults(simulator, signal)
  await allServe(stage.workers, signal)
}

/** A fault may strike the connection that is to clear it. */
async function clearFaults(simulator: SimulatorProcess, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await simulator.steer('faults', { clear: true })
      return
    } catch {
      await sleep(50, undefined, { signal })
    }
  }
}

/** Looks at everything until it is at rest, for so long at most; answers the last look. */
export async function awaitRest(stage: Stage, ms: number, signal: AbortSignal): Promise<RestEvidence> {
  const until = performance.now() + ms
  for (;;) {
    const rest = await lookAtRest(stage)
    if (checkRest(rest).length === 0 || performance.now() > until) return rest
    await sleep(200, undefined, { signal })
  }
}

/** Jobs of any kind in both queues. */
async function countQueued({ redis }: Stage): Promise<number> {
  const keys = new QueueKeys(KEYS.queuePrefix)
  const counts = await Promise.all(
    Object.values(QUEUE_NAMES).flatMap((name) => [
      redis.llen(keys.toKey(name, 'active')),
      redis.llen(keys.toKey(name, 'wait')),
      redis.llen(keys.toKey(name, 'paused')),
      redis.zcard(keys.toKey(name, 'prioritized')),
      redis.zcard(keys.toKey(name, 'delayed')),
    ]),
  )
  return counts.reduce((sum, count) => sum + count, 0)
}

async function lookAtRest(stage: Stage): Promise<RestEvidence> {
  const { redis, producer, simulators, workers } = stage
  const [states, replicas, leases, queued, deadlines] = await Promise.all([
    Promise.all(simulators.map(async (simulator) => ({ simulator, state: await simulator.state() }))),
    producer.replicas(),
    Promise.all(
      simulators.map(async ({ replicaId }) => ({
        replicaId,
        workerId: await redis.get(KEYS.lease(replicaId)),
      })),
    ),
    countQueued(stage),
    redis.zcard(KEYS.deadlines),
  ])
  return {
    simulators: states.map(({ simulator: { replicaId }, state }) => ({
      replicaId,
      open: state.open_requests,
      running: state.running,
      queued: state.queued,
      permits: state.permits_in_use,
    })),
    replicas,
    leases: leases.flatMap(({ replicaId, workerId }) => (workerId === null ? [] : [{ replicaId, workerId }])),
    workers: workers.flatMap(({ workerId }) => (workerId === undefined ? [] : [workerId])),
    queued,
    deadlines,
  }
}
