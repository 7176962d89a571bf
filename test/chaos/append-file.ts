import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** How long the file that Redis appends to was at some moment. */
interface FileLength {
  readonly path: string
  readonly bytes: number
  /** ms since 1970. */
  readonly at: number
}

/** Knows how long an append-only file was a moment ago. */
export interface AppendFileWatch {
  /** The last look at or before a moment; undefined when there was none. Whatever was written before it is in those bytes. */
  at(moment: number): FileLength | undefined
  /** The file was cut, or may have been: what was seen of it is of no use any more. */
  forget(): void
  stop(): void
}

const EVERY_MS = 20
const KEPT_MS = 2000

/** Looks at the file in a server's folder that it appends to (`appendonly.aof.<n>.incr.aof`; Redis 7, "Persistence"). */
export function watchAppendFile(folder: string): AppendFileWatch {
  const lengths: FileLength[] = []

  function look(): void {
    const at = Date.now()
    const name = readdirSync(folder).find((file) => file.endsWith('.incr.aof'))
    if (name === undefined) return
    const path = join(folder, name)
    lengths.push({ path, bytes: statSync(path).size, at })
    while ((lengths[0]?.at ?? at) < at - KEPT_MS) lengths.shift()
  }

  const timer = setInterval(look, EVERY_MS)
  return {
    forget: () => void lengths.splice(0),
    at: (moment) => lengths.findLast(({ at }) => at <= moment),
    stop: () => clearInterval(timer),
  }
}
