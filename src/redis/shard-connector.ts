import { Socket, createConnection } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { AbstractConnector } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { findPrimary } from './cluster.ts'
import type { SeenCluster } from './cluster.ts'

/**
 * What ioredis asks for a socket whenever it connects (its option `Connector`, as its own for sentinels is): one to the
 * primary of a slot, which is looked for each time.
 */
export function shardConnector(seen: SeenCluster, slot: number): NonNullable<RedisOptions['Connector']> {
  return class ShardConnector extends AbstractConnector {
    private looking = new AbortController()

    constructor(options: unknown) {
      super((options as RedisOptions).disconnectTimeout ?? 0)
    }

    override async connect(): Promise<Socket> {
      const looking = new AbortController()
      this.looking = looking
      this.connecting = true
      const node = await findPrimary(seen, slot, looking.signal)
      // Not an error: ioredis 6 takes one as the end of the connection, also when it was to connect again.
      if (looking.signal.aborted) return new Socket().destroy()
      const { tls } = seen.access
      const socket = tls === undefined ? createConnection(node) : connectTls({ ...node, ...tls })
      socket.once('error', (error) => {
        this.firstError = error
      })
      this.stream = socket
      return socket
    }

    override disconnect(): void {
      this.looking.abort()
      super.disconnect()
    }
  }
}
