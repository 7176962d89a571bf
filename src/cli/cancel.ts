import type { Command } from 'commander'
import { usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { jsonLine } from '../contract/json-line.ts'

/** `tgi-pool cancel`. */
export function addCancel(program: Command): void {
  const command = program
    .command('cancel')
    .description('End a job, whatever it is doing; when this returns no token will follow')
    .argument('<job>', 'the job id')
    .option('--reason <text>', "goes into the job's error event")
    .option('--json', 'the outcome as JSON')
  withPool(command).action(async (jobId: string, flags: PoolFlags & { reason?: string; json?: boolean }) => {
    const outcome = await usingPool(flags, (pool) => pool.cancel(jobId, { reason: flags.reason }))
    const text = outcome === 'cancelled' ? 'cancelled' : 'was over already'
    process.stdout.write(
      flags.json === true ? `${jsonLine({ job_id: jobId, outcome })}\n` : `job ${jobId} ${text}\n`,
    )
  })
}
