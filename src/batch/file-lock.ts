import { spawn } from 'node:child_process'
import { open, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { constants } from 'node:fs'
import { PoolError } from '../contract/error.ts'

/** macOS and the BSDs lock in `open` (open(2), O_EXLOCK); Node has no name for it. */
const O_EXLOCK = 0x20
const OPENS_LOCKED: ReadonlySet<NodeJS.Platform> = new Set(['darwin', 'freebsd', 'openbsd'])

/**
 * Opens a file for reading and appending, creates it if needed, and locks it with flock(2). The kernel releases the lock when the
 * process ends, however it ends. Undefined if another process holds the lock.
 *
 * @throws {@link PoolError} `CONFIG` if it cannot be opened or locked, or is no file.
 */
export async function openLocked(path: string): Promise<FileHandle | undefined> {
  for (;;) {
    const file = await openForAppend(path)
    if (file === undefined) return undefined
    let isLocked = false
    try {
      if (!(await file.stat()).isFile())
        throw new PoolError('CONFIG', `--out: expected a file, got a pipe or device: ${path}`)
      isLocked = OPENS_LOCKED.has(process.platform) || (await lock(file, path))
    } finally {
      if (!isLocked) await file.close()
    }
    if (!isLocked) return undefined
    // Its holder may have put another file in its place before it ended.
    if (await isAt(file, path)) return file
    await file.close()
  }
}

/** Whether a path still names an open file. */
export async function isAt(file: FileHandle, path: string): Promise<boolean> {
  const [held, there] = await Promise.all([file.stat(), stat(path).catch(() => undefined)])
  return there !== undefined && held.ino === there.ino && held.dev === there.dev
}

async function openForAppend(path: string): Promise<FileHandle | undefined> {
  const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT
  const locked = OPENS_LOCKED.has(process.platform) ? O_EXLOCK | constants.O_NONBLOCK : 0
  try {
    return await open(path, flags | locked, 0o666)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (locked !== 0 && code === 'EAGAIN') return undefined
    throw new PoolError('CONFIG', `--out: cannot open ${path}: ${message}`, { cause })
  }
}

/**
 * Node has no flock(2). A lock belongs to the open file description, which a child process shares: the program `flock` takes the lock
 * and exits, and the lock stays as long as this process has the file open.
 */
async function lock(file: FileHandle, path: string): Promise<boolean> {
  const child = spawn('flock', ['-n', '3'], { stdio: ['ignore', 'ignore', 'ignore', file.fd] })
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', resolve)
  }).catch((cause: unknown) => {
    throw new PoolError(
      'CONFIG',
      '--out: cannot lock it: the program flock (package util-linux) is missing',
      {
        cause,
      },
    )
  })
  if (status === 0 || status === CONFLICT) return status === 0
  throw new PoolError('CONFIG', `--out: cannot lock ${path}: flock ended with status ${status}`)
}

/** What `flock -n` ends with when another process has the lock; any other status is a fault, e.g. of the file system. */
const CONFLICT = 1
