import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { SimulatorState } from '../../src/simulator/ledger.ts'
import type { SimulatorOptions } from '../../src/simulator/options.ts'
import { freePort } from '../../src/redis/server.ts'
import { pause } from './pause.ts'
import type { OverloadEvidence } from './evidence.ts'
import type { OnProcess } from './journal.ts'

/** What a simulator in a process of its own is told. */
export interface SimulatorOrder extends Omit<SimulatorOptions, 'observer'> {
  /** How many requests the worker of this replica may hold open. */
  readonly slots: number
}

/** What it tells. */
export type SimulatorMessage =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'overload'; readonly open: number; readonly at: number }

/** A simulator that can be killed, and started again on its port. */
export interface SimulatorProcess {
  readonly replicaId: string
  readonly url: string
  readonly isUp: boolean
  /** Kills it, and starts it after a time. Resolves when it listens again. */
  kill(ms: number): Promise<void>
  /** `POST /simulator/<path>`. */
  steer(path: 'faults' | 'health', body: unknown): Promise<void>
  state(): Promise<SimulatorState>
  end(): Promise<void>
}

const SCRIPT = fileURLToPath(new URL('simulator-child.ts', import.meta.url))

/** Starts one and resolves when it listens. */
export async function startSimulatorProcess(
  replicaId: string,
  order: SimulatorOrder,
  onOverload: (overload: OverloadEvidence) => void,
  onProcess: OnProcess,
): Promise<SimulatorProcess> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  let isUp = false
  let isEnded = false
  let child: ChildProcess | undefined

  async function start(): Promise<void> {
    const started = fork(SCRIPT, [JSON.stringify({ ...order, port })], { stdio: 'inherit' })
    child = started
    onProcess(replicaId, started.pid)
    await new Promise<void>((resolve, reject) => {
      started.on('message', (message) => {
        const told = message as SimulatorMessage
        if (told.kind === 'listening') resolve()
        else onOverload({ replicaId, slots: order.slots, open: told.open, at: told.at })
      })
      started.once('exit', (code) => reject(new Error(`simulator ${replicaId} exited with ${code}`)))
    })
    isUp = true
  }

  async function end(): Promise<void> {
    isUp = false
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise((resolve) => child?.once('exit', resolve))
    child.kill('SIGKILL')
    await exited
  }

  await start()
  return {
    replicaId,
    url,
    get isUp() {
      return isUp
    },
    async kill(ms) {
      if (!isUp) return
      await end()
      await pause(ms)
      if (!isEnded) await start()
    },
    async steer(path, body) {
      const response = await fetch(`${url}/simulator/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      if (!response.ok) throw new Error(`simulator ${replicaId}: ${await response.text()}`)
    },
    async state() {
      const response = await fetch(`${url}/simulator/state`)
      return (await response.json()) as SimulatorState
    },
    async end() {
      isEnded = true
      await end()
    },
  }
}
