import type { Command } from 'commander'
import { jsonLine } from '../contract/json-line.ts'
import type { Admission } from '../client/enqueue.ts'
import type { PoolClient } from '../client/pool-client.ts'
import { textOf } from '../client/text.ts'
import { PoolError } from '../contract/error.ts'
import { newJobId } from '../contract/ids.ts'
import { EXIT, Exit } from './exit.ts'
import { withInterrupt } from './interrupt.ts'
import { jobOf, readPrompt, usingPool, withJob, withPool } from './options.ts'
import type { JobFlags, PoolFlags } from './options.ts'
import { watchAnswer } from './generate-summary.ts'
import { err, errLine, out, outLine } from './print.ts'
import { showWait } from './wait-status.ts'

/** `tgi-pool generate`: one prompt, its text as it comes. */
export function addGenerate(program: Command): void {
  const command = program
    .command('generate')
    .description('Generate from a prompt and print the text as it comes; Ctrl-C cancels the job')
    .argument('<prompt>', 'the prompt; - reads it from standard input')
    .option('--json', 'one JSON line per event instead of the text')
  withJob(withPool(command)).action(
    async (argument: string, flags: PoolFlags & JobFlags & { json?: boolean }) => {
      const job = jobOf(await readPrompt(argument), flags)
      await usingPool(flags, async (pool) => {
        // Known before it is enqueued, so that Ctrl-C at any moment can cancel it.
        const jobId = flags.jobId ?? newJobId()
        await withInterrupt(
          async (signal) => {
            const admission = await pool.enqueue(job, { jobId })
            signal.throwIfAborted()
            await (flags.json === true
              ? printEvents(pool, jobId, signal)
              : printText(pool, admission, signal))
          },
          async ({ status }) => {
            const reason = status === EXIT.interrupted ? 'Ctrl-C' : 'the reader closed the pipe'
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

async function printText(pool: PoolClient, admission: Admission, signal: AbortSignal): Promise<void> {
  const { job_id: jobId } = admission
  const wait = showWait(pool, admission)
  const answer = watchAnswer()
  try {
    for await (const piece of textOf(answer.watch(pool.events(jobId, { signal })))) {
      wait.stop()
      out(piece)
    }
    wait.stop()
    out('\n')
    if (process.stderr.isTTY && answer.summary !== undefined) errLine(`tgi-pool: ${answer.summary}`)
  } catch (error) {
    wait.stop()
    // An interruption or a local error, not the job's own error.
    if (!(error instanceof PoolError) || !error.ofJob) throw error
    err('\n')
    errLine(`tgi-pool: job ${jobId} ended in ${error.kind}: ${error.message}`)
    throw new Exit(EXIT.jobFailed)
  }
}
