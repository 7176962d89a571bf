import { setTimeout as sleep } from 'node:timers/promises'
import { consume } from './consumer.ts'
import type { Violation } from './evidence.ts'
import { drawJob } from './job-mix.ts'
import type { Journal } from './journal.ts'
import type { ChaosOptions } from './options.ts'
import { performFault } from './perform-fault.ts'
import { cancelUntilAnswered, enqueueUntilAccepted } from './producer.ts'
import { createRandom } from './random.ts'
import type { ScheduledFault } from './schedule.ts'
import { KEYS } from './stage.ts'
import type { Stage } from './stage.ts'
import type { TrackedJob } from './tracked-job.ts'

/** What a run is made of while it runs. */
export interface Play {
  readonly options: ChaosOptions
  readonly stage: Stage
  readonly journal: Journal
  /** Ends everything at once. */
  readonly signal: AbortSignal
  readonly jobs: TrackedJob[]
  /** What producers and consumers met that nothing explains. */
  readonly faults: Violation[]
}

/** Answers above 1024 tokens take longer than a short run. */
const LONG_FROM_MINUTES = 2
/** Most jobs have one consumer, some have two. */
const SECOND_CONSUMER = 0.15
/** Jobs whose id is made for them. */
const NAMELESS = 0.3

/** Causes the faults of a schedule at their moments; resolves when the last one is over. */
export async function playFaults(play: Play, schedule: readonly ScheduledFault[]): Promise<void> {
  const { stage, journal, signal } = play
  const startedAt = performance.now()
  const underWay: Promise<void>[] = []
  for (const fault of schedule) {
    await until(startedAt + fault.atMs, signal)
    const { atMs, kind, ...details } = fault
    const work = performFault(stage, fault)
    journal.write(work === false ? 'skip' : 'fault', { kind, drawn_for_ms: atMs, ...details })
    if (work === false) continue
    journal.countFault(nameOf(fault))
    underWay.push(
      work.then(
        () => journal.write('over', { kind, drawn_for_ms: atMs, target: fault.target }),
        // What was to be told what to do was struck by something else meanwhile.
        (error: unknown) => journal.write('failed', { kind, target: fault.target, error: String(error) }),
      ),
    )
  }
  await Promise.all(underWay)
}

function nameOf({ kind, body, refusal }: ScheduledFault): string {
  if (refusal !== undefined) return `redis: ${refusal}`
  return kind === 'simulator-fault' ? `simulator: ${String(body?.['kind'])}` : kind
}

/** Enqueues every job at its moment; resolves when all of them are accepted, cancelled as drawn and read to their end. */
export async function playJobs(play: Play, lastMs: number): Promise<void> {
  const { options, signal } = play
  const random = createRandom(options.seed, 'moments')
  const moments = Array.from({ length: options.jobs }, () => random.next() * lastMs).toSorted((a, b) => a - b)
  const startedAt = performance.now()
  const underWay: Promise<void>[] = []
  for (const [n, moment] of moments.entries()) {
    await until(startedAt + moment, signal)
    underWay.push(playJob(play, n))
  }
  await Promise.all(underWay)
}

async function playJob(play: Play, n: number): Promise<void> {
  const { options, stage, journal, signal } = play
  const random = createRandom(options.seed, 'job', n)
  const long = options.minutes >= LONG_FROM_MINUTES
  const { body, cancelAfterMs } = drawJob(random, n, { onInterrupt: options.onInterrupt, long })
  const job: TrackedJob = {
    n,
    jobId: `chaos-${options.seed}-${n}`,
    isNameless: createRandom(options.seed, 'nameless', n).chance(NAMELESS),
    body,
    cancelAfterMs,
    acceptedAt: undefined,
    cancelAsked: false,
    cancel: undefined,
    readings: [],
    sealSeenAt: undefined,
  }
  play.jobs.push(job)
  const ports = { client: stage.producer, redis: stage.redis, keys: KEYS, journal, signal }
  const consumers = random.chance(SECOND_CONSUMER) ? 2 : 1
  try {
    await enqueueUntilAccepted(ports, job)
    await Promise.all([
      ...Array.from({ length: consumers }, (_, which) => {
        const chance = createRandom(options.seed, 'consumer', n, which)
        return consume({ clients: stage.consumers, random: chance, journal, signal }, job)
      }),
      cancelAfterMs === undefined
        ? undefined
        : sleep(cancelAfterMs, undefined, { signal }).then(() => cancelUntilAnswered(ports, job)),
    ])
  } catch (error) {
    if (signal.aborted) return
    play.faults.push({ check: 'lost', jobId: job.jobId, message: `its producer was told ${String(error)}` })
  }
}

async function until(at: number, signal: AbortSignal): Promise<void> {
  const ms = at - performance.now()
  if (ms > 0) await sleep(ms, undefined, { signal })
  signal.throwIfAborted()
}
