import { constants } from 'node:fs'
import { open, realpath, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { PoolError } from '../contract/error.ts'
import { isAt, openLocked } from './file-lock.ts'
import { isBlank } from './job-lines.ts'
import { formatRecord, parseRecord } from './record.ts'
import type { Answer, Failure, Outcome } from './record.ts'

/** The file of answers of one run: complete lines, each synced to disk before it counts. */
export interface OutFile {
  /** Where it is, without symlinks: what is beside it is found under any name of it. */
  readonly path: string
  /** Whether nothing was ever written to it. */
  readonly isEmpty: boolean
  /**
   * Calls `onRecord` for each record. What a crash has left of a last line is cut off, and nothing else.
   *
   * @throws {@link PoolError} `CONFIG` if the file holds something else; it stays as it is.
   */
  scan(onRecord: (outcome: Outcome, endsAt: number) => void): Promise<void>
  /**
   * Removes records atomically: a crash leaves either the old or the new file. Call before the first append.
   *
   * @param isKept whether a record stays.
   */
  rewrite(isKept: (outcome: Outcome) => boolean): Promise<void>
  /** Resolves when the record is on disk. Waiting records are written together. @throws if a write fails, and on every later call. */
  append(record: Answer | Failure): Promise<void>
  /** Resolves when less than about 8 MB are waiting to be written. */
  room(): Promise<void>
  /** The size of the file that is on disk (bytes). */
  readonly size: number
  /** Waits for pending writes, then unlocks the file. */
  close(): Promise<void>
}

/** How many bytes may wait to be written before {@link OutFile.room} blocks. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024
const LF = 0x0a
/** How each record begins (record.ts). */
const RECORD_BEGIN = Buffer.from('{"job_id":"')

/**
 * Opens the file of answers and locks it.
 *
 * @throws {@link PoolError} `CONFIG` if it cannot be opened, is no file, or another process writes it.
 */
export async function openOutFile(name: string): Promise<OutFile> {
  const opened = await openLocked(name)
  if (opened === undefined)
    throw new PoolError(
      'CONFIG',
      `--out: another process is writing ${name}; wait until it has ended, or stop it`,
    )
  const path = await realpath(name)
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
        // Else the jobs of these records would be erased, though nobody can find the records.
        if (!(await isAt(file, path)))
          throw new PoolError(
            'INTERNAL',
            `${basename(path)} was removed, renamed or replaced while the run wrote it. Put it back and run the same command again`,
          )
        for (const { resolve } of group) resolve()
      } catch (error) {
        // An incomplete line must not become the start of the next one.
        if (failure === undefined) await file.truncate(size).catch(() => undefined)
        failure ??= error instanceof PoolError ? error : notWritten(path, error)
        for (const { reject } of group) reject(failure)
      }
    }
    // Reset synchronously: a record appended a microtask before the reset would wait forever.
    writing = undefined
  }

  return {
    path,
    isEmpty,
    get size() {
      return size
    },
    async scan(onRecord) {
      let bad: { readonly line: number; readonly at: number } | undefined
      let number = 0
      let end = 0
      let hasZeros = false
      for await (const { line, endsAt, isWhole } of linesOf(file, size)) {
        number += 1
        const record = isWhole ? parseRecord(line) : undefined
        if (record === undefined) {
          bad ??= { line: number, at: end }
          // A crash of the machine may leave zeros behind what was on the disk for sure, never before it.
          hasZeros ||= line.includes(0)
          const isOfRun = hasZeros || (isWhole ? isBlank(line) : isBeginOfRecord(line))
          if (!isOfRun) throw notARecord(name, number)
        } else if (bad === undefined) onRecord(record, endsAt)
        else throw notARecord(name, bad.line)
        end = endsAt
      }
      const good = bad?.at ?? end
      if (good === size) return
      try {
        await file.truncate(good)
        await file.datasync()
      } catch (error) {
        throw notWritten(path, error)
      }
      size = good
    },
    async rewrite(isKept) {
      const next = `${path}.next`
      try {
        await (await open(next, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC)).close()
      } catch (error) {
        throw notWritten(path, error)
      }
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
      try {
        for await (const { line, isWhole } of linesOf(file, size)) {
          const record = isWhole ? parseRecord(line) : undefined
          if (record === undefined || !isKept(record)) continue
          group.push(line, Buffer.of(LF))
          groupBytes += line.length + 1
          if (groupBytes > MAX_PENDING_BYTES) await flush()
        }
        await flush()
        await target.datasync()
        await rename(next, path)
        await syncFolder(path)
      } catch (error) {
        // On a full disk, half a file is in the way.
        await rm(next, { force: true }).catch(() => undefined)
        await target.close()
        throw notWritten(path, error)
      }
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

/** Syncs a file's folder: a rename is on disk only once the folder is. */
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

function notARecord(name: string, line: number): PoolError {
  return new PoolError(
    'CONFIG',
    `--out: ${name}: line ${line}: expected a record of this run, got something else. Take the line out, or give another --out`,
  )
}

/** The error of a file that cannot be written. */
export function notWritten(path: string, error: unknown): PoolError {
  const { message, code } = error as NodeJS.ErrnoException
  const advice = code === 'ENOSPC' || code === 'EDQUOT' ? 'make room' : 'remove the cause'
  return new PoolError(
    'INTERNAL',
    `cannot write ${basename(path)}: ${message}. Nothing is lost: ${advice} and run the same command again`,
    { cause: error },
  )
}

/** Whether a line without an end may be what a crash has left of a record. */
function isBeginOfRecord(line: Buffer): boolean {
  const length = Math.min(line.length, RECORD_BEGIN.length)
  return line.subarray(0, length).equals(RECORD_BEGIN.subarray(0, length))
}

/** The lines of a file, with the place of their ends. The last one may have no end; then it is not whole. */
async function* linesOf(
  file: FileHandle,
  size: number,
): AsyncGenerator<{ readonly line: Buffer; readonly endsAt: number; readonly isWhole: boolean }> {
  const chunk = Buffer.alloc(256 * 1024)
  let rest: Buffer[] = []
  for (let at = 0; at < size;) {
    const { bytesRead } = await file.read(chunk, 0, Math.min(chunk.length, size - at), at)
    if (bytesRead === 0) return
    let from = 0
    for (;;) {
      const end = chunk.subarray(0, bytesRead).indexOf(LF, from)
      if (end < 0) break
      const line = Buffer.concat([...rest, chunk.subarray(from, end)])
      yield { line, endsAt: at + end + 1, isWhole: true }
      rest = []
      from = end + 1
    }
    rest.push(Buffer.from(chunk.subarray(from, bytesRead)))
    at += bytesRead
  }
  const line = Buffer.concat(rest)
  if (line.length > 0) yield { line, endsAt: size, isWhole: false }
}
