import type { ServerResponse } from 'node:http'
import type { Clock } from './clock.ts'
import { COMMENT_FRAME } from './frames.ts'

/** Generation stops while so many bytes wait for a client that does not read; TGI itself would let them grow. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024

/** How the bytes of a body leave. */
export interface EventWriterOptions {
  readonly clock: Clock
  /** Silence after which a comment goes out (ms). */
  readonly keepAliveMs: number
  /** Every byte a write of its own. */
  readonly cut: boolean
  /** Everything in one write, at the end. */
  readonly merge: boolean
}

/** The body of one event stream. After the client has left, every call does nothing. */
export interface EventWriter {
  /** Takes a frame; it leaves with the next flush. */
  push(frame: string): void
  /** One write of all that was pushed. False: the socket takes no more for now. */
  flush(): boolean
  /** Unsent bytes are past {@link MAX_UNSENT_BYTES}. */
  readonly isFull: boolean
  /** Sends a comment if nothing was sent for long enough. `nowMs` is on the writer's clock. */
  beat(nowMs: number): void
  /** No comment from now on. */
  silence(): void
  /** Flushes and ends the body as it should be. */
  end(): void
  /** Flushes, then closes the socket in the middle of the body. */
  crash(): void
}

/** Bytes that leave one by one, each in a turn of the event loop of its own, so that none is joined to the next. */
function createDripper(response: ServerResponse) {
  let queue = Buffer.alloc(0)
  let isRunning = false
  let atEnd: (() => void) | undefined
  function drip(): void {
    if (response.destroyed) return
    if (queue.length === 0) {
      isRunning = false
      atEnd?.()
      return
    }
    response.write(queue.subarray(0, 1))
    queue = queue.subarray(1)
    setImmediate(drip)
  }
  return {
    write(text: string): void {
      queue = Buffer.concat([queue, Buffer.from(text)])
      if (isRunning) return
      isRunning = true
      setImmediate(drip)
    },
    whenDone(action: () => void): void {
      if (isRunning) atEnd = action
      else action()
    },
  }
}

/** A writer of events into a response whose headers have been sent. */
export function createEventWriter(response: ServerResponse, options: EventWriterOptions): EventWriter {
  const dripper = options.cut ? createDripper(response) : undefined
  let pending = ''
  let lastSentMs = options.clock.now()
  let isSilent = false

  function send(): boolean {
    if (pending === '' || response.destroyed) return true
    const text = pending
    pending = ''
    lastSentMs = options.clock.now()
    if (dripper === undefined) return response.write(text)
    dripper.write(text)
    return true
  }

  function finish(action: () => void): void {
    isSilent = true
    send()
    if (dripper === undefined) action()
    else dripper.whenDone(action)
  }

  return {
    push(frame) {
      pending += frame
    },
    flush: () => options.merge || send(),
    get isFull() {
      return response.writableLength > MAX_UNSENT_BYTES
    },
    beat(nowMs) {
      if (isSilent || response.writableNeedDrain || nowMs - lastSentMs < options.keepAliveMs) return
      lastSentMs = nowMs
      if (!response.destroyed) response.write(COMMENT_FRAME)
    },
    silence() {
      isSilent = true
    },
    end: () => finish(() => response.end()),
    // destroySoon and not destroy: what was sent before the crash is to arrive.
    crash: () => finish(() => response.socket?.destroySoon()),
  }
}
