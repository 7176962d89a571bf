import type { WorkerOptions } from '../../src/worker/worker-options.ts'
import { IMAGE_FLAGS, startWeighedProcess } from './weighed-process.ts'
import type { WeighedProcess } from './weighed-process.ts'

/** Whom the worker serves. */
export type WorkerSettings = Pick<
  WorkerOptions,
  'redisUrl' | 'pool' | 'replicaUrl' | 'replicaId' | 'slots'
> & {
  /** Count the commands sent to Redis. */
  readonly counted?: boolean | undefined
}

/** Starts a worker in a process of its own; resolves when it takes jobs. */
export async function startWorkerProcess(settings: WorkerSettings): Promise<WeighedProcess> {
  const script = new URL('worker-child.ts', import.meta.url)
  return startWeighedProcess({ script, settings, nodeFlags: IMAGE_FLAGS })
}
