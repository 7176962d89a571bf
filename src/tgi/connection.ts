import { Socket } from 'node:net'

import { Client } from 'undici'
import type { buildConnector } from 'undici'

import type { TgiAddress } from './address.ts'

/** What connections to one server have in common. */
export interface ConnectionOptions {
  readonly address: TgiAddress
  readonly connector: buildConnector.connector
  /** A longer answer is a fault (bytes); absent: no bound. */
  readonly maxBytes?: number | undefined
}

/** A connection that carries one exchange at a time; it is made when the first one is sent. */
export interface HttpConnection {
  readonly client: Client
  /** A socket may be made, for an exchange that is about to be sent. */
  allowSocket(): void
  /** None may be made any more: the exchange is being sent. */
  refuseSockets(): void
  /** Called whenever its socket has ended, also by the other side or because it was idle for too long. */
  onEnd(listener: () => void): void
  /** Closes the socket at once, whatever the state; resolves when it is gone. */
  destroy(): Promise<void>
}

/**
 * A dead connection is noticed after this much silence (ms) inside a body. TGI sends a comment every 15 s
 * (axum's KeepAlive default; router/src/server.rs, TGI 3.3.7).
 */
const BODY_TIMEOUT_MS = 60_000
/** How long a connection may wait for its next exchange (ms); less, where the server announces less. */
const IDLE_MS = 4000

/** Nobody ever sees it; made once because its stack, per request, was 3 % of a profile of 64 x 500 tokens flat out. */
const CLOSED = new Error('closed')

/**
 * An undici `Client`, so a socket, of this exchange alone. Destroying that client ends the exchange in every state, which
 * an abort signal on a shared pool does not: there a request that is queued or connecting lives on.
 */
export function createConnection({ address, connector, maxBytes }: ConnectionOptions): HttpConnection {
  let socket: Socket | undefined
  let mayConnect = false

  const client = new Client(address.origin, {
    allowH2: false,
    pipelining: 1,
    keepAliveTimeout: IDLE_MS,
    keepAliveMaxTimeout: IDLE_MS,
    headersTimeout: 0,
    bodyTimeout: BODY_TIMEOUT_MS,
    maxResponseSize: maxBytes ?? -1,
    connect(options, callback) {
      if (!mayConnect) {
        // undici would connect anew for what it has not written whole; what is sent twice is not for it to decide.
        callback(new Error('the connection closed before the request was sent'), null)
        return
      }
      // The connector gives its socket back although its type does not say so: the only handle on a connection
      // that is still being made (undici 8.12, lib/core/connect.js).
      const made: unknown = connector(options, callback)
      if (made instanceof Socket) socket = made
    },
  })

  return {
    client,
    allowSocket() {
      mayConnect = true
    },
    refuseSockets() {
      mayConnect = false
    },
    onEnd(listener) {
      client.on('disconnect', listener)
    },
    async destroy() {
      const destroyed = client.destroy(CLOSED)
      // With an error, so that undici's connector drops its timer; where the client knew the socket it is a no-op.
      socket?.destroy(CLOSED)
      await destroyed
      const left = socket
      if (left !== undefined && !left.closed) await new Promise((resolve) => left.once('close', resolve))
    },
  }
}
