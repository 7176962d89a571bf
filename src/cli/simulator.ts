import { Option } from 'commander'
import type { Command } from 'commander'
import { onEndSignals } from '../runtime/signals.ts'
import type { ChatMarker } from '../simulator/chat-template.ts'
import { CHAT_MARKERS } from '../simulator/chat-template.ts'
import { FAULT_KINDS, parseFault } from '../simulator/faults.ts'
import { decimal, integer } from './options.ts'
import { errLine } from './print.ts'

interface SimulatorFlags {
  readonly port: number
  readonly host?: string
  readonly tokensPerSecond?: number
  readonly prefillMs?: number
  readonly modelId?: string
  readonly maxConcurrentRequests?: number
  readonly batchDivergence?: boolean
  readonly chatMarker?: ChatMarker
  readonly fault?: string[]
}

/** `tgi-pool simulator`: a look-alike of a replica, for trying things without a GPU. */
export function addSimulator(program: Command): void {
  program
    .command('simulator')
    .description(
      'Run a simulated TGI server over real HTTP, without a model: made-up text, real framing, quirks and faults',
    )
    .requiredOption('--port <n>', 'port to listen on; 0 picks a free one', integer(0, 65_535))
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option('--tokens-per-second <r>', 'pace of each request; 0 is unlimited (default: 50)', decimal)
    .option('--prefill-ms <ms>', 'time before the first token of a request', integer(0))
    .option('--model-id <id>', 'model id in /info')
    .option(
      '--max-concurrent-requests <n>',
      'most requests at once; more are refused as overloaded',
      integer(1),
    )
    .option('--batch-divergence', 'make the text depend on how many requests run at once')
    .addOption(
      new Option(
        '--chat-marker <when>',
        'when the chat template writes <s>; /tokenize always adds one (default: always)',
      ).choices(CHAT_MARKERS),
    )
    .addOption(
      new Option(
        '--fault <fault...>',
        `fault to inject, e.g. crash:after=5,times=1 or http-500:times=2,match=TEXT (match takes the rest); kinds: ${FAULT_KINDS.join(', ')}`,
      ),
    )
    .action(async (flags: SimulatorFlags) => {
      const { fault, ...options } = flags
      const { startSimulator } = await import('../simulator/server.ts')
      const simulator = await startSimulator({ ...options, faults: fault?.map(parseFault) })
      errLine(
        `tgi-pool simulator (no model: the text is made up) at ${simulator.url}; state: ${simulator.url}/simulator/state; Ctrl-C stops it`,
      )
      // Listens to the end: under npm one Ctrl-C arrives twice, and the second must not kill it while it stops.
      await new Promise<void>((resolve) => {
        onEndSignals({ onFirst: () => resolve(), onSecond: () => undefined })
      })
      await simulator.stop()
    })
}
