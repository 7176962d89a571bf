import type { Command } from 'commander'
import { usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { jsonLine } from '../contract/json-line.ts'
import { outLine } from './print.ts'

/** `tgi-pool job`. */
export function addJob(program: Command): void {
  const command = program
    .command('job')
    .description("Show a job's state")
    .argument('<job>', 'the job id')
    .option('--json', 'the whole state as JSON')
  withPool(command).action(async (jobId: string, flags: PoolFlags & { json?: boolean }) => {
    const state = await usingPool(flags, (pool) => pool.job(jobId))
    if (flags.json === true) {
      outLine(jsonLine(state))
      return
    }
    const facts = [
      ['state', state.state],
      ['attempts', state.attempts],
      ['tokens', state.tokens_out],
      ['replica', state.replica_id],
      ['accepted', time(state.accepted_at)],
      ['deadline', time(state.deadline_at)],
      [
        'ended with',
        state.end?.finish_reason ?? (state.error && `${state.error.code}: ${state.error.message}`),
      ],
      ['last event', state.last_id],
    ]
    for (const [name, value] of facts) {
      if (value !== undefined && value !== null) outLine(`${String(name).padEnd(11)} ${String(value)}`)
    }
  })
}

function time(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString()
}
