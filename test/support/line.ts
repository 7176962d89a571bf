import type { Redis } from 'ioredis'
import { connectToShard } from '../../src/redis/connect.ts'
import type { createHub, Hub } from '../../src/stream/hub.ts'

/** A hub whose connections a test can break. */
export interface Line {
  readonly hub: Hub
  /** Those that are up. */
  readonly connections: ReadonlySet<Redis>
  /** How many there ever were. */
  readonly opened: number
  /** Breaks what is up; the hub connects anew. */
  cut(): void
  close(): void
}

/** A hub of the given make, on the Redis at an address. */
export function openLine(make: typeof createHub, url: string): Line {
  const connections = new Set<Redis>()
  let opened = 0
  const hub = make({
    async connect(role, keys) {
      const redis = await connectToShard(url, keys.config, { role })
      opened += 1
      connections.add(redis)
      redis.once('close', () => connections.delete(redis))
      return redis
    },
  })
  return {
    hub,
    connections,
    get opened() {
      return opened
    },
    cut() {
      for (const redis of connections) redis.disconnect(true)
    },
    close: () => hub.close(),
  }
}
