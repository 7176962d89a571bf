import type { ServerResponse } from 'node:http'
import { SSE_HEADERS, SSE_HEARTBEAT } from '../http/sse.ts'

/** The answer that events go out on. */
export interface EventSink {
  /** Sends a text soon: what is ready in one turn of the event loop goes out in one write. */
  push(text: string): void
  /** Pending while the client does not take what was written. */
  readonly blocked: Promise<void> | undefined
  /** Sends what is left and ends the answer. Idempotent. */
  end(): void
}

/** How to send. */
export interface EventSinkOptions {
  readonly outgoing: ServerResponse
  /** Silence after which a comment goes out (ms). */
  readonly heartbeatMs: number
  /** How long a client may leave data lying before its connection is cut (ms). */
  readonly stallMs: number
}

/** How long an EventSource waits before it comes again (ms). */
const RETRY_MS = 1000
/** Text that is written before the turn ends (UTF-16 units). */
const FULL = 64 * 1024

/** Begins an event stream: its headers go out in this turn, with what is there to send by then. */
export function openEventSink(options: EventSinkOptions): EventSink {
  const { outgoing } = options
  let text = `retry: ${RETRY_MS}\n\n`
  let soon: NodeJS.Immediate | undefined
  let drain: PromiseWithResolvers<void> | undefined
  let stalled: NodeJS.Timeout | undefined
  let over = false
  const { socket, req } = outgoing
  // HTTP/1.0, which proxies still speak, knows no chunks: there the end of the connection is the end.
  const chunked = req.httpVersionMajor > 1 || req.httpVersionMinor > 0
  const heartbeat = setTimeout(() => {
    if (drain === undefined) push(SSE_HEARTBEAT)
    heartbeat.refresh()
  }, options.heartbeatMs)

  function flush(): void {
    soon = undefined
    if (over || text === '') return
    const taken = send(text)
    socket?.uncork()
    text = ''
    heartbeat.refresh()
    if (taken || drain !== undefined) return
    drain = Promise.withResolvers()
    socket?.once('drain', release)
    watch()
  }

  /** Cuts a client that has taken nothing since it was last looked at; one that is only slow may go on. */
  function watch(): void {
    const left = socket?.writableLength ?? 0
    stalled = setTimeout(() => {
      if ((socket?.writableLength ?? 0) < left) watch()
      else outgoing.destroy()
    }, options.stallMs)
  }

  /**
   * One chunk (RFC 9112, section 7.1) in one system call. The answer's own `write` hands length, text and line end to the
   * socket as three pieces, which costs twice the time of this: most of what a gateway does is this call.
   */
  function send(chunk: string): boolean {
    if (socket === null || socket.destroyed) return true
    return socket.write(chunked ? `${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n` : chunk)
  }

  function release(): void {
    clearTimeout(stalled)
    stalled = undefined
    drain?.resolve()
    drain = undefined
  }

  function push(more: string): void {
    text += more
    if (text.length >= FULL) flush()
    else soon ??= setImmediate(flush)
  }

  function stop(): void {
    over = true
    clearTimeout(heartbeat)
    clearImmediate(soon)
    socket?.off('drain', release)
    release()
  }

  // One system call, and one packet to wake the client with, for the headers and the first events.
  socket?.cork()
  soon = setImmediate(flush)
  outgoing.writeHead(200, {
    ...SSE_HEADERS,
    ...(chunked ? { 'Transfer-Encoding': 'chunked' } : { Connection: 'close' }),
  })
  outgoing.flushHeaders()
  outgoing.once('close', stop)
  return {
    push,
    get blocked() {
      return drain?.promise
    },
    end() {
      if (over) return
      flush()
      stop()
      outgoing.end()
      // What the kernel has not taken yet holds the connection open.
      watch()
      outgoing.once('close', release)
    },
  }
}
