import type { JobQueue } from '../../../src/queue/job-queue.ts'

/** Where the job is in one queue: nowhere, waiting, or locked by a worker. */
type Place = { readonly state: 'absent' | 'waiting' } | { readonly state: 'active'; readonly owner: string }

/** Two queues that may hold the job, as BullMQ would: a lock has one owner, and only the owner moves the job. */
export interface QueueModel {
  readonly port: JobQueue
  /** Takes the job; false when it is not there to be taken. A second queue is given the job first. */
  take(queue: number, owner: string): boolean
  owns(queue: number, owner: string): boolean
  /** The owner leaves: the job waits again or is gone. Nothing happens when the lock is another's. */
  leave(queue: number, owner: string, to: 'waiting' | 'absent'): void
  /** The lock runs out: the job waits for another worker. */
  loseLock(queue: number): void
  save(): readonly Place[]
  restore(saved: readonly Place[]): void
  readonly held: boolean
}

/** Two empty queues. */
export function createQueueModel(): QueueModel {
  let places: Place[] = [{ state: 'absent' }, { state: 'absent' }]
  const at = (queue: number): Place => places[queue] ?? { state: 'absent' }
  const owns = (queue: number, owner: string): boolean => {
    const place = at(queue)
    return place.state === 'active' && place.owner === owner
  }
  const held = () => places.some((place) => place.state !== 'absent')
  return {
    port: {
      async add() {
        if (at(0).state === 'absent') places[0] = { state: 'waiting' }
      },
      holds: async () => held(),
      async removeWaiting() {
        places = places.map((place) => (place.state === 'waiting' ? { state: 'absent' } : place))
      },
      remove: async () => true,
      waiting: async () => ({ interactive: 0, batch: 0, delayed: 0 }),
      heldBytes: async () => 0,
      tidy: async () => undefined,
      close: async () => undefined,
    },
    take(queue, owner) {
      if (at(queue).state === 'active') return false
      // Another producer, another queue, or the same id added again: nothing in the log may rely on the queue.
      places[queue] = { state: 'active', owner }
      return true
    },
    owns,
    leave(queue, owner, to) {
      if (owns(queue, owner)) places[queue] = { state: to }
    },
    loseLock(queue) {
      if (at(queue).state === 'active') places[queue] = { state: 'waiting' }
    },
    save: () => [...places],
    restore(saved) {
      places = [...saved]
    },
    get held() {
      return held()
    },
  }
}
