import type { Lab } from '../support/lab.ts'
import { startBullmqXadd } from './bullmq-xadd.ts'
import { createDirect } from './direct.ts'
import { startResumableStream } from './resumable-stream.ts'
import type { Rival, RivalName, RivalSettings } from './rival.ts'
import { startTgiPool } from './tgi-pool.ts'

/** What those who race need to know. */
export interface RaceOptions {
  readonly names: readonly RivalName[]
  /** Answers under way at once. */
  readonly slots: number
  readonly counted?: boolean | undefined
}

/** Starts rivals in a lab, lets `race` run with them, and stops them, whatever happens. */
export async function withRivals<T>(
  lab: Lab,
  { names, slots, counted = false }: RaceOptions,
  race: (rivals: readonly Rival[]) => Promise<T>,
): Promise<T> {
  const settings = { redisUrl: lab.redisUrl, replicaUrl: lab.simulator.url, slots, counted }
  const rivals: Rival[] = []
  try {
    for (const name of names) rivals.push(await startRival(lab, name, settings))
    return await race(rivals)
  } finally {
    await Promise.allSettled(rivals.map((rival) => rival.stop()))
  }
}

/** Starts one. */
export async function startRival(lab: Lab, name: RivalName, settings: RivalSettings): Promise<Rival> {
  switch (name) {
    case 'tgi_pool':
      return startTgiPool(lab, settings)
    case 'bullmq_xadd':
      return startBullmqXadd(settings)
    case 'resumable_stream':
      return startResumableStream(settings)
    case 'direct':
      return createDirect(settings)
  }
}
