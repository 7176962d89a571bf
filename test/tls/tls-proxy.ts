import { connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:tls'
import type { Certificate } from './authority.ts'

/** A TLS line to a plain server on loopback. */
export interface TlsProxy {
  readonly port: number
  /** All that clients have sent so far, in clear. */
  received(): string
  /** How often somebody knocked, whether the line came up or not. */
  readonly knocks: number
  close(): Promise<void>
}

/** Starts a proxy that shows a certificate, in front of a port. */
export async function startTlsProxy(target: number, certificate: Certificate): Promise<TlsProxy> {
  const sockets = new Set<Socket>()
  let received = ''
  let knocks = 0

  function hold(socket: Socket): void {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
  }

  const server = createServer(certificate, (near) => {
    const far = connect(target, '127.0.0.1')
    near.on('data', (bytes) => {
      received += bytes.toString('latin1')
      far.write(bytes)
    })
    far.on('data', (bytes) => void near.write(bytes))
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    hold(near)
    hold(far)
  })
  server.on('connection', (socket: Socket) => {
    knocks += 1
    hold(socket)
  })
  // A client that does not like the certificate.
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    received: () => received,
    get knocks() {
      return knocks
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
