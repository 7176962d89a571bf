import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolError } from '../contract/error.ts'
import type { Logger } from '../runtime/log.ts'

/** A key that may call. */
export interface BearerKey {
  /** For logs and bounds: the first 8 hex digits of its SHA-256. */
  readonly name: string
  /** The HMAC-SHA-256 (hex) of a text that only this key gives. */
  sign(text: string): string
}

/** The keys that may call. */
export interface BearerKeys {
  /** The key in an `Authorization` header; undefined if it is unknown. Takes the same time for every wrong key. */
  find(header: string | undefined): BearerKey | undefined
  /** Whether a key of that name may call. */
  has(name: string): boolean
  /** Reads the file again. */
  reload(): Promise<void>
  close(): void
}

/** How to read them. */
export interface BearerKeysOptions {
  /** One key a line, of at least 16 characters that are visible ASCII; `#` begins a comment line. */
  readonly file: string
  readonly logger: Logger
  /** How often the file is checked for changes (ms). @defaultValue 1000 */
  readonly lookMs?: number | undefined
  /**
   * A file that is overwritten in place lacks keys for a moment. Before they count as removed, the file is read again this much later
   * (ms). @defaultValue 100
   */
  readonly rewriteMs?: number | undefined
  /** Called when keys were removed. */
  readonly onRemoved?: ((keys: BearerKeys) => void) | undefined
}

const MIN_LENGTH = 16
/**
 * Reads a file of bearer keys, and reads it again when it changes, so that keys can be added and revoked without a restart. Only the
 * keys that are in the file now may call: none if it is empty, missing or unreadable, and never one from a line that is not a key.
 *
 * @throws {@link PoolError} `CONFIG` for a file with any fault at the start: it names the file and the line, never the key.
 */
export async function openBearerKeys(options: BearerKeysOptions): Promise<BearerKeys> {
  const { file, logger } = options
  let mark = await markOf(file)
  const first = await readKeys(file)
  if (first.fault !== undefined) throw first.fault
  let { digests } = first
  let fault: string | undefined
  let looking = false
  let closed = false

  function isKnown(digest: Buffer): boolean {
    let found = false
    for (const known of digests) if (timingSafeEqual(known, digest)) found = true
    return found
  }

  async function reload(): Promise<void> {
    let reading = await readKeys(file)
    if (digests.some((digest) => !includes(reading.digests, digest))) {
      await sleep(options.rewriteMs ?? 100)
      reading = await readKeys(file)
    }
    if (closed) return
    const removed = digests.some((digest) => !includes(reading.digests, digest))
    digests = reading.digests
    if (reading.fault === undefined) logger.info({ keys: digests.length }, 'bearer keys reloaded')
    else if (reading.fault.message !== fault) {
      const refused = digests.length === 0 ? '; every request that needs one is refused' : ''
      logger.error({ err: reading.fault, keys: digests.length }, `bearer keys have a fault${refused}`)
    }
    fault = reading.fault?.message
    if (removed) options.onRemoved?.(keys)
  }

  async function look(): Promise<void> {
    if (looking) return
    looking = true
    try {
      const now = await markOf(file)
      if (now === mark) return
      mark = now
      await reload()
    } finally {
      looking = false
    }
  }

  const timer = setInterval(() => void look(), options.lookMs ?? 1000).unref()
  const keys: BearerKeys = {
    find(header) {
      const key = /^Bearer +([\x21-\x7e]+) *$/i.exec(header ?? '')?.[1]
      if (key === undefined) return undefined
      const digest = digestOf(key)
      if (!isKnown(digest)) return undefined
      return {
        name: nameOf(digest),
        sign: (text) => createHmac('sha256', digest).update(text).digest('hex'),
      }
    },
    has: (name) => digests.some((digest) => nameOf(digest) === name),
    reload,
    close() {
      closed = true
      clearInterval(timer)
    },
  }
  return keys
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}

function nameOf(digest: Buffer): string {
  return digest.toString('hex', 0, 4)
}

function includes(digests: readonly Buffer[], digest: Buffer): boolean {
  return digests.some((other) => other.equals(digest))
}

/** What a file holds. */
interface Reading {
  readonly digests: readonly Buffer[]
  /** The first thing that is wrong with it. */
  readonly fault?: PoolError | undefined
}

async function readKeys(file: string): Promise<Reading> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    return { digests: [], fault: keyFault(`cannot read ${file}: ${code}`, cause) }
  }
  const digests: Buffer[] = []
  let fault: PoolError | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const key = line.trim()
    if (key === '' || key.startsWith('#')) continue
    if (key.length >= MIN_LENGTH && /^[\x21-\x7e]+$/.test(key)) digests.push(digestOf(key))
    else {
      fault ??= keyFault(
        `${file}, line ${index + 1}: expected at least ${MIN_LENGTH} visible ASCII characters`,
      )
    }
  }
  if (digests.length === 0) fault ??= keyFault(`${file}: expected a key, got none`)
  return { digests, fault }
}

function keyFault(what: string, cause?: unknown): PoolError {
  return new PoolError('CONFIG', `bearer keys: ${what}`, { cause })
}

/** Changes with the file and with who may read it; a file that is not there has one, too. */
async function markOf(file: string): Promise<string> {
  try {
    const { mtimeMs, ctimeMs, size, ino } = await stat(file)
    return `${mtimeMs} ${ctimeMs} ${size} ${ino}`
  } catch {
    return 'not there'
  }
}
