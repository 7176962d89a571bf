/**
 * A simulator in a process of its own: everything comes as one JSON argument, and it tells its parent when it listens
 * and whenever more requests are open than the worker of this replica has slots.
 */
import { startSimulator } from '../../src/simulator/server.ts'
import type { SimulatorMessage, SimulatorOrder } from './simulator-process.ts'

const { slots, ...options } = JSON.parse(process.argv[2] ?? '') as SimulatorOrder

function tell(message: SimulatorMessage): void {
  process.send?.(message)
}

let open = 0
const simulator = await startSimulator({
  ...options,
  observer: {
    requestReceived() {
      open += 1
      if (open > slots) tell({ kind: 'overload', open, at: Date.now() })
    },
    requestClosed() {
      open -= 1
    },
  },
})
tell({ kind: 'listening', port: simulator.port })
// Whoever started it is gone, and took nothing down.
process.on('disconnect', () => process.exit(1))
// Ctrl-C reaches every process of a terminal; this one is its parent's to end.
process.on('SIGINT', () => undefined)
