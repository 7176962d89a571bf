import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { openPool } from '../../src/client/pools.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { startRedisServer } from '../../src/redis/server.ts'

/** Text that appeared in a terminal. */
export interface Output {
  /** Since the first command (ms). */
  readonly at: number
  /** `user` asks and reads, `operator` watches and kills. */
  readonly terminal: 'user' | 'operator'
  /** What was typed, a note beside it, or what a program printed; for text of the answer, by which attempt. */
  readonly kind: 'typed' | 'note' | 'printed' | 'attempt-1' | 'attempt-2'
  readonly text: string
}

/** A recorded run, in order of time. */
export interface Recording {
  readonly output: readonly Output[]
  /** The whole answer, as the job's `end` has it. */
  readonly answer: string
  /** Its attempts: where each ran, and when it began (ms since the first command). */
  readonly attempts: readonly { readonly replica: string; readonly at: number }[]
}

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const [POOL, JOB, TOKENS] = ['demo', 'sky', 90]
const PROMPT = 'Why is the sky blue?'

/** The token after which the worker is killed. */
const KILL_AFTER = 36

type Child = ChildProcessByStdio<null, Readable, Readable>

/** Records the run; leaves nothing running. */
export async function record(): Promise<Recording> {
  const server = await startRedisServer()
  const children: Child[] = []
  const env = { ...process.env, REDIS_URL: server.url, TGI_POOL: POOL, LOG_LEVEL: 'info' }
  const start = (args: readonly string[]): Child => {
    const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    children.push(child)
    return child
  }
  try {
    const workers = new Map<string, Child>()
    for (const replica of ['gpu-1', 'gpu-2']) {
      const simulator = start(['simulator', '--port', '0', '--tokens-per-second', '16'])
      const [url = ''] = await printed(simulator, /http:\/\/127\.0\.0\.1:\d+/)
      const worker = start(['worker', '--replica', url, '--replica-id', replica, '--slots', '4'])
      await printed(worker, /replica is ready/)
      workers.set(replica, worker)
    }
    const pool = await openPool({ redisUrl: server.url, pool: POOL })
    try {
      return await recordStory({ start, workers, pool })
    } finally {
      await pool.close()
    }
  } finally {
    for (const child of children) child.kill('SIGTERM')
    await Promise.all(children.map(ended))
    await server.stop()
  }
}

interface Scene {
  readonly start: (args: readonly string[]) => Child
  /** By the replica that each serves. */
  readonly workers: ReadonlyMap<string, Child>
  readonly pool: PoolClient
}

async function recordStory({ start, workers, pool }: Scene): Promise<Recording> {
  const output: Output[] = []
  const from = performance.now()
  const now = () => Math.round(performance.now() - from)
  const show = (terminal: Output['terminal'], kind: Output['kind'], text: string) =>
    void output.push({ at: now(), terminal, kind, text })
  const operate = async (args: readonly string[]) => {
    show('operator', 'typed', `tgi-pool ${args.join(' ')}`)
    show('operator', 'printed', await outputOf(start(args)))
  }
  const kill = (replica: string) => {
    const worker = workers.get(replica)
    if (worker?.pid === undefined) throw new Error(`no worker serves ${replica}`)
    show('operator', 'typed', `kill -9 ${worker.pid}`)
    show('operator', 'note', `the worker of ${replica}, which runs the job`)
    worker.kill('SIGKILL')
  }

  await operate(['replicas'])
  show('user', 'typed', `tgi-pool generate "${PROMPT}" --max-new-tokens ${TOKENS}`)
  const reader = start(['generate', PROMPT, '--max-new-tokens', String(TOKENS), '--job-id', JOB])
  let text = ''
  reader.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
    show('user', 'attempt-1', piece)
  })
  while (!(await pool.has(JOB))) await moment(reader)
  // From the events, what the reader's text does not say: where each attempt runs, and which text is the first one's.
  const attempts: { replica: string; at: number }[] = []
  let ofFirst = 0
  let answer = ''
  let looking: Promise<void> | undefined
  for await (const event of pool.events(JOB)) {
    if (event.event === 'started') {
      attempts.push({ replica: event.data.replica_id, at: now() })
      if (attempts.length === 2) looking = operate(['replicas'])
    }
    if (event.event === 'token' && attempts.length === 1) {
      ofFirst += event.data.t.length
      if (event.data.i === KILL_AFTER) kill(attempts[0]?.replica ?? '')
    }
    if (event.event === 'end') answer = event.data.text
  }
  await ended(reader)
  await looking
  await operate(['job', JOB])
  if (attempts.length !== 2 || text.trim() !== answer.trim())
    throw new Error(`expected one answer of two attempts, got ${JSON.stringify({ attempts, text, answer })}`)
  return { output: byAttempt(output, ofFirst), answer, attempts }
}

/** Marks each piece of the answer with the attempt that published it. */
function byAttempt(output: readonly Output[], ofFirst: number): Output[] {
  let left = ofFirst
  return output.flatMap((each) => {
    if (each.kind !== 'attempt-1') return [each]
    const [first, second] = [each.text.slice(0, left), each.text.slice(left)]
    left -= first.length
    return [
      { ...each, text: first },
      { ...each, text: second, kind: 'attempt-2' as const },
    ].filter(({ text }) => text !== '')
  })
}

/** Sleeps; fails if a process that must keep running has ended. */
async function moment(running: Child): Promise<void> {
  if (running.exitCode !== null) throw new Error(`a process ended early, with status ${running.exitCode}`)
  await new Promise((resolve) => setTimeout(resolve, 10))
}

async function outputOf(child: Child): Promise<string> {
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (piece: string) => void (text += piece))
  await ended(child)
  if (child.exitCode !== 0) throw new Error(`${child.spawnargs.join(' ')} ended with ${child.exitCode}`)
  return text
}

function ended(child: Child): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => child.once('close', () => resolve()))
}

/** Waits until a process has printed something, on whichever stream. */
function printed(child: Child, what: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let text = ''
    const look = (piece: Buffer) => {
      text += piece.toString()
      const found = what.exec(text)
      if (found !== null) resolve(found)
    }
    child.stdout.on('data', look)
    child.stderr.on('data', look)
    child.once('close', () =>
      reject(new Error(`${child.spawnargs.join(' ')} ended without ${what}: ${text}`)),
    )
  })
}
