import type { Command } from 'commander'
import { jsonLine } from '../contract/json-line.ts'
import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import { newJobId } from '../contract/ids.ts'
import { EXIT, Exit } from './exit.ts'
import { withInterrupt } from './interrupt.ts'
import { jobOf, readPrompt, usingPool, withJob, withPool } from './options.ts'
import type { JobFlags, PoolFlags } from './options.ts'
import { err, errLine, out, outLine } from './print.ts'

/** How long nothing happens before the reason is looked for (ms). */
const PATIENCE_MS = 2000

/** `tgi-pool generate`: one prompt, its text as it comes. */
export function addGenerate(program: Command): void {
  const command = program
    .command('generate')
    .description('Generate from a prompt and print the text as it comes; Ctrl-C cancels the job')
    .argument('<prompt>', 'the prompt; - reads it from standard input')
    .option('--json', 'one JSON line an event instead of the text')
  withJob(withPool(command)).action(
    async (argument: string, flags: PoolFlags & JobFlags & { json?: boolean }) => {
      const job = jobOf(await readPrompt(argument), flags)
      await usingPool(flags, async (pool) => {
        // Known before it is enqueued, so that Ctrl-C at any moment can cancel it.
        const jobId = flags.jobId ?? newJobId()
        await withInterrupt(
          async (signal) => {
            await pool.enqueue(job, { jobId })
            signal.throwIfAborted()
            await (flags.json === true ? printEvents(pool, jobId, signal) : printText(pool, jobId, signal))
          },
          async ({ status }) => {
            const reason = status === EXIT.interrupted ? 'Ctrl-C' : 'the reader has gone'
            await pool.cancel(jobId, { reason })
            err('\n')
            errLine(`tgi-pool: cancelled job ${jobId}`)
          },
        )
      })
    },
  )
}

async function printEvents(pool: PoolClient, jobId: string, signal: AbortSignal): Promise<void> {
  for await (const event of pool.events(jobId, { signal })) {
    outLine(jsonLine(event))
    if (event.event === 'error') throw new Exit(EXIT.jobFailed)
  }
}

async function printText(pool: PoolClient, jobId: string, signal: AbortSignal): Promise<void> {
  const why = setTimeout(() => void explainWait(pool, jobId).catch(() => undefined), PATIENCE_MS)
  try {
    for await (const piece of pool.text(jobId, { signal })) {
      clearTimeout(why)
      out(piece)
    }
    out('\n')
  } catch (error) {
    // The signal's reason, or a fault on our side of the line: not the job's.
    if (!(error instanceof PoolError) || !error.ofJob) throw error
    err('\n')
    errLine(`tgi-pool: job ${jobId} ended in ${error.kind}: ${error.message}`)
    throw new Exit(EXIT.jobFailed)
  } finally {
    clearTimeout(why)
  }
}

/** Says on stderr what a job waits for. */
async function explainWait(pool: PoolClient, jobId: string): Promise<void> {
  const [state, replicas] = await Promise.all([pool.job(jobId), pool.replicas()])
  const full = replicas.filter(({ state: its, busy, slots }) => its === 'ready' && slots > 0 && busy >= slots)
  const ready = replicas.filter(({ state: its }) => its === 'ready')
  const seen = replicas.map(
    ({ replica_id, state: its, reason }) =>
      `${replica_id} is ${its}${reason === undefined ? '' : ` (${reason})`}`,
  )
  const waitsFor =
    state.state === 'started'
      ? `it is on ${state.replica_id ?? 'a replica'}; no token yet`
      : ready.length > 0
        ? `${full.length} of ${ready.length} ready replicas are busy with other jobs`
        : `no replica of pool ${pool.pool} is ready: ${seen.length === 0 ? 'there is none. Start a worker' : seen.join('; ')}`
  errLine(`tgi-pool: job ${jobId} waits: ${waitsFor}`)
}
