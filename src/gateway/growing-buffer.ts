import { PoolError } from '../contract/error.ts'

/** A body as far as it has come. */
export interface GrowingBuffer {
  /** @throws {@link PoolError} `TOO_LARGE`; `OVERLOADED` when the bodies that are being read have no room for this one. */
  add(chunk: Buffer): void
  /** All that was added. */
  bytes(): Buffer
  /** Gives its room back. Idempotent. */
  release(): void
}

/** Room that every body has: most jobs fit, so they are taken whatever else is being read. */
const FIRST_BYTES = 4096
/** Room beyond that of all bodies together; a gateway has some 150 MiB beside its heap in compose.yaml. */
const MOST_BYTES = 64 * 2 ** 20

/** Room that bodies have taken, in the whole process: its gateways share its memory. */
let takenBytes = 0

/**
 * Collects a body of at most `maxBytes`. One buffer, not a list of chunks: a client may send a byte a chunk, and each chunk is an
 * object of a hundred bytes.
 */
export function createGrowingBuffer(maxBytes: number): GrowingBuffer {
  let buffer = Buffer.allocUnsafe(FIRST_BYTES)
  let size = 0
  let ownBytes = 0

  function grow(needed: number): void {
    const length = Math.max(needed, Math.min(2 * buffer.length, maxBytes))
    const more = length - FIRST_BYTES - ownBytes
    if (takenBytes + more > MOST_BYTES)
      throw new PoolError(
        'OVERLOADED',
        `the body: this gateway is already reading ${MOST_BYTES} bytes of bodies, its limit; retry later`,
      )
    const larger = Buffer.allocUnsafe(length)
    buffer.copy(larger, 0, 0, size)
    buffer = larger
    takenBytes += more
    ownBytes += more
  }

  return {
    add(chunk) {
      const needed = size + chunk.length
      if (needed > maxBytes)
        throw new PoolError('TOO_LARGE', `the body: expected at most ${maxBytes} bytes, got more`)
      if (needed > buffer.length) grow(needed)
      size += chunk.copy(buffer, size)
    },
    bytes: () => buffer.subarray(0, size),
    release() {
      takenBytes -= ownBytes
      ownBytes = 0
    },
  }
}
