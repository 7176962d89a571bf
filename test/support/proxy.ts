import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

/** A line to a server on loopback that can be broken. No byte is ever dropped from a line that stays up. */
export interface Proxy {
  readonly port: number
  readonly url: string
  /** How many lines are up. */
  readonly lines: number
  /** Lets everything through, what was held first. */
  pass(): void
  /** Holds every byte, both ways: silence. New lines are taken and held. */
  stall(): void
  /** Breaks every line, and new ones at once. */
  cut(): void
  close(): Promise<void>
}

/** Starts a proxy in front of a port. */
export async function startProxy(target: number): Promise<Proxy> {
  let mode: 'pass' | 'stall' | 'cut' = 'pass'
  const sockets = new Set<Socket>()

  function hold(socket: Socket): void {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    // A broken line is what this is for.
    socket.on('error', () => undefined)
    if (mode === 'stall') socket.pause()
  }

  const server = createServer((near) => {
    if (mode === 'cut') {
      near.destroy()
      return
    }
    const far = connect(target, '127.0.0.1')
    // Not pipe(): it resumes a paused socket as soon as the other side drains.
    near.on('data', (bytes) => void far.write(bytes))
    far.on('data', (bytes) => void near.write(bytes))
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    hold(near)
    hold(far)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo

  function cutAll(): void {
    for (const socket of sockets) socket.destroy()
  }

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get lines() {
      return sockets.size / 2
    },
    pass() {
      mode = 'pass'
      for (const socket of sockets) socket.resume()
    },
    stall() {
      mode = 'stall'
      for (const socket of sockets) socket.pause()
    },
    cut() {
      mode = 'cut'
      cutAll()
    },
    async close() {
      mode = 'cut'
      cutAll()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
