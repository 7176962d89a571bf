import type { Command } from 'commander'
import { usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { jsonLine } from '../contract/json-line.ts'
import { outLine } from './print.ts'

/** `tgi-pool cancel`. */
export function addCancel(program: Command): void {
  const command = program
    .command('cancel')
    .description('Cancel a job, waiting or running; no token follows after this returns')
    .argument('<job>', 'the job id')
    .option('--reason <text>', "reason in the job's error event")
    .option('--json', 'the outcome as JSON')
  withPool(command).action(async (jobId: string, flags: PoolFlags & { reason?: string; json?: boolean }) => {
    const outcome = await usingPool(flags, (pool) => pool.cancel(jobId, { reason: flags.reason }))
    const text = outcome === 'cancelled' ? 'cancelled' : 'had already ended'
    outLine(flags.json === true ? jsonLine({ job_id: jobId, outcome }) : `job ${jobId} ${text}`)
  })
}
