import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createWriteStream, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { MARK } from './shot.ts'

/** What a process is asked; the answer has the same id. */
export interface MeasureMessage {
  readonly id: number
  /** Collect garbage before memory is read. */
  readonly collect: boolean
}

/** What it answers. */
export interface Measurement {
  readonly id: number
  /** How long the event loop was blocked at most since the last question, in time that its thread ran (ms). */
  readonly blockMs: number
  /** The same by the clock (ms): on a busy machine more. */
  readonly wallMs: number
  readonly residentBytes: number
  /** Heap and buffers in use. */
  readonly heldBytes: number
}

/** How to start one. */
export interface ProcessOrder {
  readonly name: string
  readonly script: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly nodeFlags: readonly string[]
  /** What it may take of memory (bytes). */
  readonly limitBytes: number
  /** It serves when it has written this; the first group is kept. */
  readonly ready: RegExp
  /** Gets all that it writes. */
  readonly logPath: string
}

/** A process of ours that is measured. */
export interface MeasuredProcess {
  readonly name: string
  readonly pid: number
  readonly limitBytes: number
  /** What {@link ProcessOrder.ready} found. */
  readonly said: string
  /** How it ended by itself; undefined while it runs. */
  readonly death: string | undefined
  /** Log lines with a secret or a prompt since the last call. */
  takeLeaks(): string[]
  /**
   * The longest block since the last call, and memory; undefined when it is dead or does not answer for a minute.
   *
   * @param collect after collecting garbage.
   */
  measure(collect?: boolean): Promise<Measurement | undefined>
  /** The most memory that it took since the last call (bytes). */
  takePeak(): number
  end(): Promise<void>
}

const PRELOAD = fileURLToPath(new URL('preload.ts', import.meta.url))
const ANSWER_MS = 60_000
/** What a process said last, for its death. */
const TAIL = 8000

/** Starts it; resolves when it serves. */
export async function startMeasuredProcess(order: ProcessOrder): Promise<MeasuredProcess> {
  const flags = [...order.nodeFlags, '--expose-gc', '--import', PRELOAD]
  const child = spawn(process.execPath, [...flags, order.script, ...order.args], {
    env: { ...process.env, NODE_OPTIONS: '', ...order.env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const log = createWriteStream(order.logPath, { flags: 'a' })
  const ready = Promise.withResolvers<string>()
  const exited = Promise.withResolvers<void>()
  const waiting = new Map<number, (measurement: Measurement | undefined) => void>()
  const leaks: string[] = []
  let [death, isEnded, tail, asked]: [string | undefined, boolean, string, number] = [undefined, false, '', 0]
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue
    let rest = ''
    stream.setEncoding('utf8').on('data', (text: string) => {
      log.write(text)
      tail = (tail + text).slice(-TAIL)
      const found = order.ready.exec(tail)
      if (found !== null) ready.resolve(found[1] ?? '')
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      leaks.push(...lines.filter((line) => line.includes(MARK)))
    })
  }
  child.on('message', (message) => {
    const measurement = message as Measurement
    waiting.get(measurement.id)?.(measurement)
  })
  // When all that it said has been read: the last of it is why.
  child.once('close', (code, signal) => {
    death = isEnded ? undefined : `${signal ?? `exit code ${code}`}: ${causeIn(tail)}`
    for (const answer of waiting.values()) answer(undefined)
    ready.reject(new Error(`${order.name} ended before it served: ${tail}`))
    exited.resolve()
  })
  const said = await ready.promise
  return {
    name: order.name,
    pid: child.pid ?? 0,
    limitBytes: order.limitBytes,
    said,
    get death() {
      return death
    },
    takeLeaks: () => leaks.splice(0),
    async measure(collect = false) {
      if (!isAlive(child)) return undefined
      const id = (asked += 1)
      const { promise, resolve } = Promise.withResolvers<Measurement | undefined>()
      waiting.set(id, resolve)
      const timer = setTimeout(() => resolve(undefined), ANSWER_MS)
      child.send({ id, collect } satisfies MeasureMessage, (error) => {
        // It is dying; its exit says why.
        if (error !== null) void exited.promise.then(() => resolve(undefined))
      })
      const measurement = await promise
      clearTimeout(timer)
      waiting.delete(id)
      return measurement
    },
    takePeak: () => takePeak(child.pid ?? 0),
    async end() {
      isEnded = true
      if (isAlive(child)) child.kill('SIGKILL')
      await exited.promise
      log.end()
    },
  }
}

function isAlive({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null
}

/** The line of what a process wrote that says why it died, if there is one. */
function causeIn(tail: string): string {
  const lines = tail.split('\n').filter((line) => line.trim() !== '')
  return lines.find((line) => /FATAL|Error/.test(line)) ?? lines.at(-1) ?? 'no word'
}

/** Reads VmHWM and sets it back to what is resident now (proc(5), `clear_refs`). 0 where the process is gone. */
function takePeak(pid: number): number {
  try {
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    writeFileSync(`/proc/${pid}/clear_refs`, '5')
    return Number(kib ?? 0) * 1024
  } catch {
    return 0
  }
}
