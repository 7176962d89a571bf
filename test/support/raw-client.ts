import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** A connection on which a test writes bytes as they are. */
export interface RawClient {
  readonly socket: Socket
  /** All that has come so far, as Latin-1. */
  readonly text: string
  /** The statuses of the answers so far, in order. */
  readonly statuses: readonly number[]
  /** All that came until the connection was closed. */
  readonly closed: Promise<string>
  send(bytes: string): void
}

/** Connects to a port on loopback and sends bytes; the connection ends with the test. */
export function openRaw(port: number, bytes = ''): RawClient {
  let text = ''
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
  socket.setEncoding('latin1').on('data', (more: string) => (text += more))
  const closed = new Promise<string>((resolve) => {
    socket.on('error', () => undefined).on('close', () => resolve(text))
  })
  onTestFinished(() => void socket.destroy())
  return {
    socket,
    closed,
    get text() {
      return text
    },
    get statuses() {
      return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
    },
    send: (more) => void socket.write(more),
  }
}
