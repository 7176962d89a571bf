import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import type { WriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { pause } from './pause.ts'
import type { Interval } from './evidence.ts'
import type { OnProcess } from './journal.ts'

/** How a worker is started, each time. */
export interface WorkerOrder {
  readonly redisUrl: string
  readonly pool: string
  readonly replicaUrl: string
  readonly replicaId: string
  readonly slots: number
  readonly graceMs: number
  /** The lock, the lease and what hangs on them; absent: the real command with its own. */
  readonly times:
    | { readonly lockMs: number; readonly stalledIntervalMs: number; readonly leaseMs: number }
    | undefined
}

/** What a worker's place is told about. */
export interface WorkerPorts {
  /** Where what it logs goes. */
  readonly output: WriteStream
  readonly onProcess: OnProcess
  /** It ended though nobody had ended it, or not as it should. */
  readonly onFault: (message: string) => void
}

/** A place for one worker at a time, which may be killed, frozen and drained; another one takes its place. */
export interface WorkerPlace {
  readonly order: WorkerOrder
  /** Its id, as soon as it serves. */
  readonly workerId: string | undefined
  /** It runs, is not frozen, and was not told to stop. */
  readonly isUp: boolean
  /** Times in which it was stopped, or had just been killed: its sockets may have lived on. */
  readonly stopped: readonly Interval[]
  kill(ms: number): Promise<void>
  freeze(ms: number): Promise<void>
  /** SIGTERM; the next one starts when it has ended. */
  drain(ms: number): Promise<void>
  /** Its way to Redis was struck from now on; the answer is to be called when that is over. */
  strike(): () => void
  end(): Promise<void>
}

const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const SCRIPT = fileURLToPath(new URL('worker-child.ts', import.meta.url))
/** A worker that gave up when it was to start is started again after this, as a process manager does. */
const AGAIN_MS = 500
/** How long a killed or woken worker's sockets may take to be gone from its replica's books. */
const CLOSING_MS = 1500
/** Beyond its grace time a worker hands back what it has, which takes a moment; Redis may be away meanwhile. */
const DRAIN_SPARE_MS = 15_000

type Mode = 'down' | 'up' | 'frozen' | 'draining' | 'ended'

/** Makes a place and starts its first worker. */
export function openWorkerPlace(order: WorkerOrder, ports: WorkerPorts): WorkerPlace {
  const stopped: Interval[] = []
  /** Times in which its way to Redis was struck. */
  const strikes: Interval[] = []
  let startedAt = 0
  let mode: Mode = 'down'
  let child: ChildProcess | undefined
  let exited: Promise<void> = Promise.resolve()
  let workerId: string | undefined

  function start(): void {
    if (mode === 'ended') return
    mode = 'up'
    workerId = undefined
    startedAt = Date.now()
    const started = spawn(process.execPath, argsOf(order), { stdio: ['ignore', 'ignore', 'pipe'] })
    child = started
    ports.onProcess(`worker of ${order.replicaId}`, started.pid)
    createInterface({ input: started.stderr }).on('line', (line) => {
      ports.output.write(`${line}\n`)
      if (child === started && line.includes('"worker started"')) workerId = workerIdOf(line)
    })
    exited = new Promise((resolve) => {
      started.once('exit', (code, signal) => {
        resolve()
        if (child === started) onExit(code, signal)
      })
    })
  }

  function onExit(code: number | null, signal: NodeJS.Signals | null): void {
    const how = `worker of ${order.replicaId} (${workerId ?? 'not serving yet'}) ended with ${code ?? signal}`
    // Before it serves it may not listen for signals yet, and just dies.
    if (mode === 'draining' && code !== 0 && workerId !== undefined)
      ports.onFault(`${how} when it was drained`)
    if (mode !== 'up') return
    mode = 'down'
    // One that starts may give up when it does not get through to Redis; one that serves may not.
    const isExcused = workerId === undefined && strikes.some(({ to }) => to >= startedAt)
    if (!isExcused) ports.onFault(`${how} by itself`)
    void pause(AGAIN_MS).then(() => (mode === 'down' ? start() : undefined))
  }

  async function replaceAfter(ms: number): Promise<void> {
    await exited
    await pause(ms)
    if (mode !== 'up') start()
  }

  start()
  return {
    order,
    get workerId() {
      return workerId
    },
    get isUp() {
      return mode === 'up'
    },
    stopped,
    async kill(ms) {
      if (mode !== 'up') return
      mode = 'down'
      const from = Date.now()
      child?.kill('SIGKILL')
      await exited
      stopped.push({ from, to: Date.now() + CLOSING_MS })
      await replaceAfter(ms)
    },
    async freeze(ms) {
      if (mode !== 'up') return
      mode = 'frozen'
      const frozen = child
      const interval: Interval = { from: Date.now(), to: Infinity }
      stopped.push(interval)
      frozen?.kill('SIGSTOP')
      await pause(ms)
      interval.to = Date.now() + CLOSING_MS
      // It may have been ended for good meanwhile.
      if (mode === 'frozen') mode = 'up'
      frozen?.kill('SIGCONT')
    },
    async drain(ms) {
      if (mode !== 'up') return
      mode = 'draining'
      const drained = child
      drained?.kill('SIGTERM')
      const late = sleep(order.graceMs + DRAIN_SPARE_MS, 'late' as const, { ref: false })
      if ((await Promise.race([exited, late])) === 'late') {
        ports.onFault(`worker of ${order.replicaId} (${workerId}) did not end when it was drained`)
        drained?.kill('SIGKILL')
      }
      await replaceAfter(ms)
    },
    strike() {
      const strike: Interval = { from: Date.now(), to: Infinity }
      strikes.push(strike)
      return () => {
        strike.to = Date.now()
      }
    },
    async end() {
      mode = 'ended'
      if (child?.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await exited
    },
  }
}

/** Resolves when every worker serves. */
export async function allServe(workers: readonly WorkerPlace[], signal: AbortSignal): Promise<void> {
  while (workers.some(({ workerId }) => workerId === undefined)) await sleep(20, undefined, { signal })
}

function argsOf(order: WorkerOrder): string[] {
  const { times, ...rest } = order
  if (times !== undefined) return [SCRIPT, JSON.stringify({ ...rest, ...times, probeMs: 300 })]
  const flags = {
    pool: order.pool,
    redis: order.redisUrl,
    replica: order.replicaUrl,
    'replica-id': order.replicaId,
    slots: order.slots,
    'grace-ms': order.graceMs,
    'log-level': 'info',
  }
  return [CLI, 'worker', ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])]
}

function workerIdOf(line: string): string | undefined {
  try {
    return (JSON.parse(line) as { worker_id?: string }).worker_id
  } catch {
    return undefined
  }
}
