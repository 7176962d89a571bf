import type { Command } from 'commander'
import { usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { jsonLine } from '../contract/json-line.ts'
import { outLine } from './print.ts'

/** `tgi-pool forget`. */
export function addForget(program: Command): void {
  const command = program
    .command('forget')
    .description(
      "Erase a job's prompt, events and place in the queue; a job that has not ended is cancelled first",
    )
    .argument('<job>', 'the job id')
    .option('--json', 'as JSON')
  withPool(command).action(async (jobId: string, flags: PoolFlags & { json?: boolean }) => {
    await usingPool(flags, (pool) => pool.forget(jobId))
    outLine(flags.json === true ? jsonLine({ job_id: jobId, forgotten: true }) : `job ${jobId} forgotten`)
  })
}
