/**
 * The load generator: a simulator in a process of its own. Options come as JSON in the first argument. Tells its
 * parent its address and, if asked to, when each tagged request came and went; ends when the parent lets go of it.
 */
import { startSimulator } from '../../src/simulator/server.ts'
import { monotonicOffsetMs } from './clock.ts'
import type { SimulatorMessage, SimulatorSettings } from './simulator-process.ts'
import { stampText } from './stamped-text.ts'

const { observed, stamped = false, ...options } = JSON.parse(process.argv[2] ?? '{}') as SimulatorSettings
const offsetMs = monotonicOffsetMs()
if (stamped) stampText()

function tell(message: SimulatorMessage): void {
  // The parent may be gone; 'disconnect' then ends this process.
  if (process.connected) process.send?.(message, () => undefined)
}

const simulator = await startSimulator({
  ...options,
  observer: observed
    ? {
        requestReceived({ tag, receivedAtMs }) {
          if (tag !== undefined) tell({ kind: 'received', tag, atMs: receivedAtMs + offsetMs })
        },
        requestClosed({ tag, closedAtMs, outcome }) {
          if (tag !== undefined) tell({ kind: 'closed', tag, atMs: closedAtMs + offsetMs, outcome })
        },
      }
    : {},
})
process.once('disconnect', () => void simulator.stop())
tell({ kind: 'listening', url: simulator.url })
