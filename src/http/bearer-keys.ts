import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolError } from '../contract/error.ts'
import type { Logger } from '../runtime/log.ts'
import { parseKeyLines } from './key-lines.ts'
import type { KeyLine, Scope } from './key-lines.ts'

/** A key that may call. */
export interface BearerKey {
  /** Unique for each key; never logged. */
  readonly id: string
  /** For logs and limits: the name on its line, or the first 8 hex digits of its SHA-256. Several keys may share a name. */
  readonly name: string
  /** Whether it has that scope. */
  may(scope: Scope): boolean
  /** The HMAC-SHA-256 (hex) of a text, computed with this key. */
  sign(text: string): string
}

/** The keys that may call. */
export interface BearerKeys {
  /** The key in an `Authorization` header; undefined if it is unknown. Takes the same time for every wrong key. */
  find(header: string | undefined): BearerKey | undefined
  /** Whether the key with that id may call. */
  has(id: string): boolean
  /** Reads the file again. */
  reload(): Promise<void>
  close(): void
}

/** Options of bearer keys. */
export interface BearerKeysOptions {
  /**
   * One key per line, at least 16 visible ASCII characters; `#` starts a comment line. A name and scopes may precede the
   * key: `name key`, `name+operate key`. To rotate a key, give its successor the same name.
   */
  readonly file: string
  readonly logger: Logger
  /** How often the file is checked for changes (ms). @defaultValue 1000 */
  readonly lookMs?: number | undefined
  /**
   * A file that is overwritten in place lacks keys for a moment, so it is read again this much later before keys count as removed
   * (ms). @defaultValue 100
   */
  readonly rewriteMs?: number | undefined
  /** Called when keys were removed. */
  readonly onRemoved?: ((keys: BearerKeys) => void) | undefined
}

/**
 * Reads a file of bearer keys, and reads it again when it changes, so that keys can be added and revoked without a restart. Only
 * keys that are in the file now may call: none if it is empty, missing or unreadable, and none from an invalid line.
 *
 * @throws {@link PoolError} `CONFIG` if the file has any fault on the first read: it names the file and the line, never the key.
 */
export async function openBearerKeys(options: BearerKeysOptions): Promise<BearerKeys> {
  const { file, logger } = options
  let mark = await markOf(file)
  const first = await readKeys(file)
  if (first.fault !== undefined) throw first.fault
  let known = first.keys
  let fault: string | undefined
  let looking = false
  let closed = false

  function find(digest: Buffer): KeyLine | undefined {
    let found: KeyLine | undefined
    for (const key of known) if (timingSafeEqual(key.digest, digest)) found = key
    return found
  }

  async function reload(): Promise<void> {
    let reading = await readKeys(file)
    if (known.some((key) => !includes(reading.keys, key))) {
      await sleep(options.rewriteMs ?? 100)
      reading = await readKeys(file)
    }
    if (closed) return
    const removed = known.some((key) => !includes(reading.keys, key))
    known = reading.keys
    if (reading.fault === undefined) logger.info({ keys: known.length }, 'bearer keys reloaded')
    else if (reading.fault.message !== fault) {
      const refused = known.length === 0 ? '; every request that needs one is refused' : ''
      logger.error({ err: reading.fault, keys: known.length }, `bearer keys have a fault${refused}`)
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
      const line = find(createHash('sha256').update(key).digest())
      if (line === undefined) return undefined
      return {
        id: idOf(line),
        name: line.name,
        may: (scope) => line.scopes.has(scope),
        sign: (text) => createHmac('sha256', line.digest).update(text).digest('hex'),
      }
    },
    has: (id) => known.some((key) => idOf(key) === id),
    reload,
    close() {
      closed = true
      clearInterval(timer)
    },
  }
  return keys
}

function idOf({ digest }: KeyLine): string {
  return digest.toString('hex')
}

function includes(keys: readonly KeyLine[], { digest }: KeyLine): boolean {
  return keys.some((other) => other.digest.equals(digest))
}

/** The content of a key file. */
interface Reading {
  readonly keys: readonly KeyLine[]
  /** The first fault in it. */
  readonly fault?: PoolError | undefined
}

async function readKeys(file: string): Promise<Reading> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    return { keys: [], fault: keyFault(`cannot read ${file}: ${code}`, cause) }
  }
  const { keys, fault } = parseKeyLines(text)
  if (fault !== undefined) return { keys, fault: keyFault(`${file}, ${fault}`) }
  return { keys, fault: keys.length === 0 ? keyFault(`${file}: expected a key, got none`) : undefined }
}
function keyFault(what: string, cause?: unknown): PoolError {
  return new PoolError('CONFIG', `bearer keys: ${what}`, { cause })
}

/** A fingerprint that changes with the file and its permissions; a missing file has one, too. */
async function markOf(file: string): Promise<string> {
  try {
    const { mtimeMs, ctimeMs, size, ino } = await stat(file)
    return `${mtimeMs} ${ctimeMs} ${size} ${ino}`
  } catch {
    return 'not there'
  }
}
