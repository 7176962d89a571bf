import type { Redis } from 'ioredis'
import type { Proxy } from '../support/proxy.ts'
import { pause } from './pause.ts'
import type { RedisStage } from './redis-stage.ts'
import type { ScheduledFault } from './schedule.ts'
import type { SimulatorProcess } from './simulator-process.ts'
import type { WorkerPlace } from './worker-process.ts'

/** What faults strike. */
export interface Victims {
  readonly redisStage: RedisStage
  readonly redis: Redis
  readonly workers: readonly WorkerPlace[]
  /** The line of each worker to Redis. */
  readonly workerLines: readonly Proxy[]
  readonly simulators: readonly SimulatorProcess[]
  /** The line of some consumers to Redis. */
  readonly consumerLine: Proxy
}

/** A line that is cut comes back after this. */
const CUT_MS = 50

/** Causes one fault, and resolves when it is over. Answers false at once when what it was to strike is down already. */
export function performFault(victims: Victims, fault: ScheduledFault): false | Promise<void> {
  const struck = struckBy(victims, fault).map((worker) => worker.strike())
  const work = cause(victims, fault)
  const over = () => {
    for (const end of struck) end()
  }
  if (work === false) over()
  return work === false ? false : work.finally(over)
}

/** The workers whose way to Redis it strikes. */
function struckBy({ workers }: Victims, { kind, target }: ScheduledFault): readonly WorkerPlace[] {
  if (kind.startsWith('redis-')) return workers
  return kind.startsWith('worker-line-') ? workers.slice(target, target + 1) : []
}

function cause(victims: Victims, fault: ScheduledFault): false | Promise<void> {
  const { redisStage, redis } = victims
  const worker = victims.workers[fault.target]
  const line = victims.workerLines[fault.target]
  const simulator = victims.simulators[fault.target]
  switch (fault.kind) {
    case 'worker-kill':
      return worker?.isUp === true && worker.kill(fault.ms)
    case 'worker-freeze':
      return worker?.isUp === true && worker.freeze(fault.ms)
    case 'worker-drain':
      return worker?.isUp === true && worker.drain(fault.ms)
    case 'workers-roll':
      return roll(victims.workers)
    case 'worker-line-cut':
      return line !== undefined && cut(line)
    case 'worker-line-stall':
      return line !== undefined && stall(line, fault.ms)
    case 'consumer-line-cut':
      return cut(victims.consumerLine)
    case 'consumer-line-stall':
      return stall(victims.consumerLine, fault.ms)
    case 'simulator-kill':
      return simulator?.isUp === true && simulator.kill(fault.ms)
    case 'simulator-fault':
      return simulator?.isUp === true && simulator.steer('faults', fault.body)
    case 'redis-clients-kill':
      return redisStage.isUp && redis.call('CLIENT', 'KILL', 'TYPE', 'normal').then(() => undefined)
    case 'redis-freeze':
      return redisStage.isUp && redisStage.freeze(fault.ms)
    case 'redis-kill':
      return redisStage.isUp && redisStage.kill(fault.ms)
    case 'redis-lose':
      return redisStage.isUp && redisStage.kill(fault.ms, fault.loseMs)
    case 'redis-refuse':
      return redisStage.isUp && redisStage.refuse(fault.refusal ?? 'OOM', fault.ms)
  }
}

/** A deploy: one worker after the other is drained and replaced. */
async function roll(workers: readonly WorkerPlace[]): Promise<void> {
  for (const worker of workers) if (worker.isUp) await worker.drain(0)
}

async function cut(line: Proxy): Promise<void> {
  line.cut()
  await pause(CUT_MS)
  line.pass()
}

async function stall(line: Proxy, ms: number): Promise<void> {
  line.stall()
  await pause(ms)
  line.pass()
}
