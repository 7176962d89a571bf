import { createHash, timingSafeEqual } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { PoolError } from '../contract/error.ts'
import type { Logger } from '../runtime/log.ts'

/** Who may call. */
export interface BearerKeys {
  /**
   * The name of the key in an `Authorization` header, for logs: the first 8 hex digits of its SHA-256. Undefined if the key is
   * unknown. Takes the same time for every wrong key.
   */
  nameOf(header: string | undefined): string | undefined
  /** Reads the file again. One that is wrong changes nothing and is logged. */
  reload(): Promise<void>
  close(): void
}

/** How to read them. */
export interface BearerKeysOptions {
  /** One key a line, of at least 16 characters that are visible ASCII; `#` begins a comment line. */
  readonly file: string
  readonly logger: Logger
  /** How often the file is looked at (ms). @defaultValue 1000 */
  readonly lookMs?: number | undefined
}

const MIN_LENGTH = 16

/**
 * Reads a file of bearer keys, and reads it again when it changes, so that keys can be rotated without a restart.
 *
 * @throws {@link PoolError} `CONFIG` that names the file and the line, never the key.
 */
export async function openBearerKeys(options: BearerKeysOptions): Promise<BearerKeys> {
  const { file, logger } = options
  let mark = await markOf(file)
  let digests = await readDigests(file)

  async function reload(): Promise<void> {
    try {
      digests = await readDigests(file)
      logger.info({ keys: digests.length }, 'bearer keys reloaded')
    } catch (error) {
      logger.error({ err: error }, 'bearer keys not reloaded; the old ones stay')
    }
  }

  async function look(): Promise<void> {
    const now = await markOf(file)
    if (now === mark) return
    mark = now
    await reload()
  }

  const timer = setInterval(() => void look(), options.lookMs ?? 1000).unref()
  return {
    nameOf(header) {
      const key = /^Bearer +([\x21-\x7e]+) *$/i.exec(header ?? '')?.[1]
      if (key === undefined) return undefined
      const digest = digestOf(key)
      let found = false
      for (const known of digests) if (timingSafeEqual(known, digest)) found = true
      return found ? digest.toString('hex').slice(0, 8) : undefined
    },
    reload,
    close: () => clearInterval(timer),
  }
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}

async function readDigests(file: string): Promise<Buffer[]> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw new PoolError('CONFIG', `bearer keys: cannot read ${file}`, { cause })
  }
  const keys: string[] = []
  for (const [index, line] of text.split('\n').entries()) {
    const key = line.trim()
    if (key === '' || key.startsWith('#')) continue
    if (key.length < MIN_LENGTH || !/^[\x21-\x7e]+$/.test(key)) {
      throw new PoolError(
        'CONFIG',
        `bearer keys: ${file}, line ${index + 1}: expected at least ${MIN_LENGTH} visible ASCII characters`,
      )
    }
    keys.push(key)
  }
  if (keys.length === 0) throw new PoolError('CONFIG', `bearer keys: ${file}: expected a key, got none`)
  return keys.map(digestOf)
}

/** Changes with the file; a file that is not there has one, too. */
async function markOf(file: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(file)
    return `${mtimeMs} ${size} ${ino}`
  } catch {
    return 'not there'
  }
}
