import type { Command } from 'commander'
import { jsonLine } from '../contract/json-line.ts'
import type { JobEvent } from '../contract/event.ts'
import type { Restart } from '../stream/reader.ts'
import { EXIT, Exit } from './exit.ts'
import { withInterrupt } from './interrupt.ts'
import { usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { out } from './print.ts'

/** `tgi-pool events`: follows a job; leaving changes nothing. */
export function addEvents(program: Command): void {
  const command = program
    .command('events')
    .description("Follow a job's events to its end, from the start or from any point; Ctrl-C just leaves")
    .argument('<job>', 'the job id')
    .option('--after <id>', 'resume after this event')
    .option('--json', 'one JSON line an event: {"id":…,"event":…,"data":{…}}')
  withPool(command).action(async (jobId: string, flags: PoolFlags & { after?: string; json?: boolean }) => {
    const failed = await usingPool(flags, (pool) =>
      withInterrupt(async (signal) => {
        let last: JobEvent | Restart | undefined
        for await (const event of pool.events(jobId, { after: flags.after, signal })) {
          out(flags.json === true ? `${jsonLine(event)}\n` : line(event))
          last = event
        }
        return last?.event === 'error'
      }),
    )
    if (failed) throw new Exit(EXIT.jobFailed)
  })
}

function line(event: JobEvent | Restart): string {
  const text = event.event === 'token' ? jsonLine(event.data.t) : jsonLine(event.data)
  return `${event.id}\t${event.event}\t${text}\n`
}
