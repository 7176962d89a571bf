import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { readAnswers } from './answers.ts'
import type { Answers } from './answers.ts'
import type { Conversation } from './shot.ts'

/** What came of a conversation. */
export interface Outcome extends Answers {
  /** Bytes that the server sent. */
  readonly size: number
  /** No byte came for so long that the client gave up. */
  readonly isSilent: boolean
}

/** How long a client waits for an answer that must come: far longer than any takes, also beside busy processes. */
const SILENT_MS = 30_000
/** And for one that need not come. */
const PERHAPS_MS = 250
/** When nothing has come for so long, what is there is read. */
const QUIET_MS = 20

/** Sends what a conversation has and reads what comes. */
export async function converse(port: number, conversation: Conversation): Promise<Outcome> {
  const { pieces, expects, ending, leaveAfterMs } = conversation
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  let [isClosed, isReset, changed] = [false, false, Promise.withResolvers<void>()]
  const change = () => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  socket.setNoDelay(true)
  socket.on('data', (chunk) => {
    chunks.push(chunk)
    change()
  })
  // A server may refuse a request before it has read it all; then our rest meets a closed socket.
  socket.on('error', () => (isReset = true))
  socket.on('close', () => {
    isClosed = true
    change()
  })
  socket.on('end', () => {
    isClosed = true
    change()
  })
  try {
    await sendPieces(socket, pieces, () => isClosed)
    if (ending === 'abort') {
      socket.resetAndDestroy()
      return { answers: [], fault: undefined, size: 0, isSilent: false }
    }
    if (ending === 'close') socket.end()
    const methods = expects === 'any' ? [] : expects
    const leaveAt = leaveAfterMs === undefined ? Infinity : performance.now() + leaveAfterMs
    let [seen, isSilent] = [readAnswers(Buffer.alloc(0), methods, false), false]
    for (let [parsed, isQuiet] = [-1, false]; ;) {
      // A large answer in many pieces is read again only when it has grown by half, or when no more comes.
      const size = chunks.reduce((sum, { length }) => sum + length, 0)
      if (size > parsed * 1.5 || isQuiet || isClosed) {
        parsed = size
        seen = readAnswers(Buffer.concat(chunks), methods, isClosed && !isReset)
      }
      const hasAll = expects !== 'any' && seen.answers.length >= expects.length
      const isDone = (hasAll && seen.answers.at(-1)?.isWhole === true) || seen.fault !== undefined
      // Whoever leaves has seen at least that each answer begins.
      const mayLeave = expects === 'any' || hasAll
      if (isDone || isClosed || (mayLeave && performance.now() >= leaveAt)) break
      const patienceMs = expects === 'any' ? PERHAPS_MS : SILENT_MS
      const untilLeave = mayLeave ? Math.max(1, leaveAt - performance.now()) : Infinity
      const waitMs = size > parsed ? QUIET_MS : Math.min(patienceMs, untilLeave)
      const timer = sleep(waitMs, 'late' as const, { ref: false })
      const event = await Promise.race([changed.promise.then(() => 'news' as const), timer])
      isQuiet = event === 'late' && size > parsed
      if (event === 'news' || isQuiet || (mayLeave && performance.now() >= leaveAt)) continue
      isSilent = !mayLeave
      if (isSilent || expects === 'any' || waitMs === patienceMs) break
    }
    return { ...seen, size: chunks.reduce((sum, { length }) => sum + length, 0), isSilent }
  } finally {
    socket.destroy()
  }
}

async function sendPieces(
  socket: Socket,
  pieces: Conversation['pieces'],
  isClosed: () => boolean,
): Promise<void> {
  for (const piece of pieces) {
    if (isClosed() || socket.destroyed) return
    if (typeof piece === 'number') await sleep(piece)
    // Resolves, too, when the connection breaks meanwhile.
    else await new Promise<void>((resolve) => socket.write(piece, () => resolve()))
  }
}
