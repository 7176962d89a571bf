import { constants } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { PoolError } from '../contract/error.ts'
import { openLocked } from './file-lock.ts'
import { formatRecord, parseRecord } from './record.ts'
import type { Answer, Failure, Outcome } from './record.ts'

/** The file of answers of one run: complete lines, each of them on the disk before it counts. */
export interface OutFile {
  /** Whether nothing was ever written to it. */
  readonly isEmpty: boolean
  /**
   * Calls `onRecord` for each record. What a crash has left of a last line is cut off.
   *
   * @throws {@link PoolError} `CONFIG` if the file holds something else.
   */
  scan(onRecord: (outcome: Outcome, endsAt: number) => void): Promise<void>
  /**
   * Leaves out records, all in one step: a crash leaves the file as it was, or as it shall be. Call before the first append.
   *
   * @param isKept whether a record stays.
   */
  rewrite(isKept: (outcome: Outcome) => boolean): Promise<void>
  /** Resolves when the record is on the disk. Records that are waiting go together. @throws what the disk says; then for good. */
  append(record: Answer | Failure): Promise<void>
  /** Resolves when less than some 8 MB wait to be written. */
  room(): Promise<void>
  /** The size of the file (bytes): all of it is on the disk. */
  readonly size: number
  /** Resolves when nothing is being written; unlocks the file. */
  close(): Promise<void>
}

/** Above this many bytes, records wait for those before them. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024
const LF = 0x0a

/**
 * Opens the file of answers and locks it.
 *
 * @throws {@link PoolError} `CONFIG` if it cannot be opened, or another process writes it.
 */
export async function openOutFile(path: string): Promise<OutFile> {
  const opened = await openLocked(path)
  if (opened === undefined)
    throw new PoolError(
      'CONFIG',
      `--out: another process is writing ${path}; wait until it has ended, or stop it`,
    )
  let file = opened
  let size = (await file.stat()).size
  const isEmpty = size === 0
  let pending: Pending[] = []
  let pendingBytes = 0
  let writing: Promise<void> | undefined
  let failure: unknown
  const waiting: (() => void)[] = []

  const isFull = () => pendingBytes > MAX_PENDING_BYTES

  async function write(): Promise<void> {
    while (pending.length > 0) {
      const group = pending
      pending = []
      pendingBytes = 0
      for (const wake of waiting.splice(0)) wake()
      try {
        if (failure !== undefined) throw failure
        const bytes = Buffer.from(group.map(({ line }) => line).join(''))
        await writeAll(file, bytes)
        await file.datasync()
        size += bytes.length
        for (const { resolve } of group) resolve()
      } catch (error) {
        // Half a line must not become the beginning of another one.
        if (failure === undefined) await file.truncate(size).catch(() => undefined)
        failure ??= notWritten(path, error)
        for (const { reject } of group) reject(failure)
      }
    }
    // Not a microtask later: what is appended in between would wait for ever.
    writing = undefined
  }

  return {
    isEmpty,
    get size() {
      return size
    },
    async scan(onRecord) {
      let bad: { readonly line: number; readonly at: number } | undefined
      let number = 0
      let end = 0
      for await (const { line, endsAt } of linesOf(file, size)) {
        number += 1
        const record = parseRecord(line)
        // A crash of the machine may leave zeros or old blocks behind what was on the disk for sure, never before it.
        if (record === undefined) bad ??= { line: number, at: end }
        else if (bad !== undefined) {
          throw new PoolError(
            'CONFIG',
            `--out: ${path}: line ${bad.line}: expected a record of this run, got something else. Take the line out, or give another --out`,
          )
        } else onRecord(record, endsAt)
        end = endsAt
      }
      const good = bad?.at ?? end
      if (good === size) return
      await file.truncate(good)
      await file.datasync()
      size = good
    },
    async rewrite(isKept) {
      const next = `${path}.next`
      const written = await open(
        next,
        constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_TRUNC,
      )
      await written.close()
      // Locked before it has the name, so that no other process can lock it under that name.
      const target = await openLocked(next)
      if (target === undefined) throw new PoolError('CONFIG', `--out: another process is writing ${next}`)
      let kept = 0
      let group: Buffer[] = []
      let groupBytes = 0
      const flush = async () => {
        await writeAll(target, Buffer.concat(group))
        kept += groupBytes
        group = []
        groupBytes = 0
      }
      for await (const { line } of linesOf(file, size)) {
        const record = parseRecord(line)
        if (record === undefined || !isKept(record)) continue
        group.push(line, Buffer.of(LF))
        groupBytes += line.length + 1
        if (groupBytes > MAX_PENDING_BYTES) await flush()
      }
      await flush()
      await target.datasync()
      await rename(next, path)
      await syncFolder(path)
      await file.close()
      file = target
      size = kept
    },
    append(record) {
      const line = formatRecord(record)
      const written = new Promise<void>((resolve, reject) => pending.push({ line, resolve, reject }))
      pendingBytes += line.length
      writing ??= write()
      return written
    },
    async room() {
      while (isFull()) await new Promise<void>((resolve) => waiting.push(resolve))
    },
    async close() {
      await writing
      await file.close()
    },
  }
}

interface Pending {
  readonly line: string
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Makes names in a file's folder last: a rename is on the disk only with the folder. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path))
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten
}

function notWritten(path: string, error: unknown): PoolError {
  const { message } = error as Error
  return new PoolError(
    'INTERNAL',
    `cannot write ${basename(path)}: ${message}. Nothing is lost: make room and run the same command again`,
    { cause: error },
  )
}

/** The complete lines of a file, with the place of their ends. */
async function* linesOf(
  file: FileHandle,
  size: number,
): AsyncGenerator<{ readonly line: Buffer; readonly endsAt: number }> {
  const chunk = Buffer.alloc(256 * 1024)
  let rest: Buffer[] = []
  for (let at = 0; at < size;) {
    const { bytesRead } = await file.read(chunk, 0, Math.min(chunk.length, size - at), at)
    if (bytesRead === 0) return
    let from = 0
    for (;;) {
      const end = chunk.subarray(0, bytesRead).indexOf(LF, from)
      if (end < 0) break
      yield { line: Buffer.concat([...rest, chunk.subarray(from, end)]), endsAt: at + end + 1 }
      rest = []
      from = end + 1
    }
    rest.push(Buffer.from(chunk.subarray(from, bytesRead)))
    at += bytesRead
  }
}
