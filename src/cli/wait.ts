import { setMaxListeners } from 'node:events'
import type { Command } from 'commander'
import type { PoolClient } from '../client/pool-client.ts'
import { isTerminal } from '../contract/event.ts'
import { jsonLine } from '../contract/json-line.ts'
import { duration, formatAge } from './duration.ts'
import { EXIT, Exit } from './exit.ts'
import { withInterrupt } from './interrupt.ts'
import { checkIds, idsOf, withIds } from './job-ids.ts'
import type { IdFlags } from './job-ids.ts'
import { RESULT_HELP, ofTerminal, ofUnknown, readResult, startSums } from './job-result.ts'
import type { JobResultLine } from './job-result.ts'
import { usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { errLine, outLine } from './print.ts'
import { startWaiting } from './progress.ts'

interface WaitFlags extends PoolFlags, IdFlags {
  readonly timeout?: number
  readonly json?: boolean
}

/** How many jobs are followed at once: as many as one connection of the hub reads. */
const AT_ONCE = 1000

/** `tgi-pool wait`. */
export function addWait(program: Command): void {
  const command = program
    .command('wait')
    .description(
      'Wait for jobs to end; prints one JSON line per job as it ends. Ctrl-C stops waiting; the jobs keep running',
    )
  withIds(command)
    .option('--timeout <duration>', 'give up after this time, e.g. 10m (default: never)', duration)
    .option('--json', 'print errors and the summary as JSON, too')
    .addHelpText('after', `\nAt most ${AT_ONCE} jobs are followed at once, in the order given.${RESULT_HELP}`)
  withPool(command).action(async (jobs: string[], flags: WaitFlags) => {
    checkIds(jobs, flags.file !== undefined)
    const status = await usingPool(flags, (pool) =>
      withInterrupt((signal) => waitAll(pool, jobs, flags, signal)),
    )
    if (status !== EXIT.success) throw new Exit(status)
  })
}

/** Why the wait ended before the jobs did. */
class TimedOut extends Error {}

async function waitAll(
  pool: PoolClient,
  jobs: readonly string[],
  flags: WaitFlags,
  interrupted: AbortSignal,
): Promise<number> {
  const stop = new AbortController()
  const limit =
    flags.timeout === undefined ? undefined : setTimeout(() => stop.abort(new TimedOut()), flags.timeout)
  const signal = AbortSignal.any([interrupted, stop.signal])
  setMaxListeners(0, signal)
  const sums = startSums()
  const json = flags.json === true
  // On a terminal, result lines would break a status line that is redrawn.
  const progress = process.stdout.isTTY ? undefined : startWaiting('jobs still running')
  const ids = readAhead(idsOf(jobs, flags, signal), () => progress?.update(ids.left))
  const follow = async () => {
    for (let id = await ids.take(); id !== undefined; id = await ids.take()) {
      const result = await waitFor(pool, id, signal)
      ids.finish()
      outLine(jsonLine(result))
      sums.count(result)
      progress?.update(ids.left)
    }
  }
  try {
    const followers = Array.from({ length: AT_ONCE }, follow)
    for (const follower of followers) follower.catch((error: unknown) => stop.abort(error))
    await Promise.all(followers)
    signal.throwIfAborted()
  } catch (error) {
    progress?.stop()
    if (signal.reason instanceof TimedOut) {
      const text = `${ids.left} ${ids.left === 1 ? 'job had' : 'jobs had'} not ended after ${formatAge(flags.timeout ?? 0)}`
      errLine(json ? JSON.stringify({ timeout: { not_over: ids.left } }) : `tgi-pool: ${text}`)
      return EXIT.fault
    }
    if (interrupted.aborted && ids.left > 0)
      errLine(
        `tgi-pool: ${ids.left} ${ids.left === 1 ? 'job keeps' : 'jobs keep'} running; wait again to collect`,
      )
    throw error
  } finally {
    clearTimeout(limit)
    progress?.stop()
  }
  if (jobs.length !== 1) sums.print(json)
  return sums.status
}

/** Resolves when a job has ended, or is unknown. */
async function waitFor(pool: PoolClient, jobId: string, signal: AbortSignal): Promise<JobResultLine> {
  const { lastId, ...now } = await readResult(pool, jobId, signal)
  if (now.state !== 'queued' && now.state !== 'started') return now
  try {
    // Skip the tokens so far.
    for await (const event of pool.events(jobId, { after: lastId, signal }))
      if (event.event !== 'restart' && isTerminal(event)) return ofTerminal(jobId, event)
  } catch (error) {
    return ofUnknown(jobId, error)
  }
  throw new Error(`the events of job ${jobId} ended without a terminal event`)
}

interface IdQueue {
  /** How many of the jobs read so far have not ended. */
  readonly left: number
  /** The next id; undefined after the last one. */
  take(): Promise<string | undefined>
  /** Reports that one of the jobs taken has ended. */
  finish(): void
}

/** Reads all ids as they arrive, so that their number is known early; ids take little memory. */
function readAhead(ids: AsyncIterable<string>, onRead: () => void): IdQueue {
  const waiting: string[] = []
  let [head, finished] = [0, 0]
  const reading: { isOver: boolean; failure?: unknown } = { isOver: false }
  let more = Promise.withResolvers<void>()
  const wake = () => {
    more.resolve()
    more = Promise.withResolvers<void>()
  }
  void (async () => {
    try {
      for await (const id of ids) {
        waiting.push(id)
        wake()
        onRead()
      }
    } catch (error) {
      reading.failure = error
    }
    reading.isOver = true
    wake()
  })()
  return {
    get left() {
      return waiting.length - finished
    },
    async take() {
      while (head === waiting.length && !reading.isOver) await more.promise
      if (reading.failure !== undefined) throw reading.failure
      const id = waiting[head]
      if (id !== undefined) head += 1
      return id
    },
    finish() {
      finished += 1
    },
  }
}
