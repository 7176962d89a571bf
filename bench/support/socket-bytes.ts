import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

/** Counts what this process's client sockets take in, Redis and HTTP alike. */
export interface SocketBytes {
  /** Bytes read so far by all sockets that were opened since the counting began. */
  read(): number
  stop(): void
}

/** Begins to count. Sockets that are open already are not seen. */
export function countSocketBytes(): SocketBytes {
  const sockets = new Set<Socket>()
  let gone = 0
  const onSocket = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      gone += socket.bytesRead
    })
  }
  subscribe('net.client.socket', onSocket)
  return {
    read() {
      let bytes = gone
      for (const socket of sockets) bytes += socket.bytesRead
      return bytes
    },
    stop: () => unsubscribe('net.client.socket', onSocket),
  }
}
