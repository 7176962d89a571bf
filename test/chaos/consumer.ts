import { setTimeout as sleep } from 'node:timers/promises'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { isTerminal } from '../../src/contract/event.ts'
import { START } from '../../src/contract/stream-id.ts'
import { fingerprint } from './check-readings.ts'
import type { Reading } from './evidence.ts'
import type { Journal } from './journal.ts'
import { isAway } from './producer.ts'
import type { Random } from './random.ts'
import type { TrackedJob } from './tracked-job.ts'

/** How a consumer reads: to the end, leaving and coming back, slowly, or from a place in the middle. */
const WAYS = { steady: 45, leaver: 33, slow: 10, middle: 12 } as const

/** What a consumer works with. */
export interface ConsumerPorts {
  /** One of these for each time it comes. */
  readonly clients: readonly PoolClient[]
  readonly random: Random
  readonly journal: Journal
  /** Ends the reading. */
  readonly signal: AbortSignal
}

/**
 * Reads a job in a way that is drawn, until it is told that the job is over; what it saw goes to the job's readings. It
 * goes on after the last id it saw, whenever it left or was sent away.
 */
export async function consume(ports: ConsumerPorts, job: TrackedJob): Promise<void> {
  const { random, journal } = ports
  const way = random.weighted(WAYS)
  const consumer = `${job.n}.${job.readings.length}-${way}`
  const reading: Reading = { consumer, after: START, seen: [], restarts: 0, over: false }
  job.readings.push(reading)
  if (way === 'middle') reading.after = await findPlace(ports, job)
  let cursor = reading.after
  while (!reading.over && reading.fault === undefined && !ports.signal.aborted) {
    journal.write('read', { job: job.jobId, consumer, after: cursor })
    const leaveAfter = way === 'leaver' ? random.between(1, 40) : Infinity
    cursor = await readOnce(ports, job, reading, { cursor, leaveAfter, isSlow: way === 'slow' })
    if (!reading.over) await pause(ports, random.between(0, 600))
  }
}

/** Reads some events and leaves; answers the last id it saw. */
async function findPlace(ports: ConsumerPorts, job: TrackedJob): Promise<string> {
  const glance: Reading = { consumer: 'glance', after: START, seen: [], restarts: 0, over: false }
  const how = { cursor: START as string, leaveAfter: ports.random.between(1, 60), isSlow: false }
  return readOnce(ports, job, glance, how)
}

interface HowToRead {
  readonly cursor: string
  /** It leaves when it has seen so many. */
  readonly leaveAfter: number
  readonly isSlow: boolean
}

/** Opens one iterator and reads until it ends, it is time to leave, or Redis is away; answers the last id seen. */
async function readOnce(
  ports: ConsumerPorts,
  job: TrackedJob,
  reading: Reading,
  { cursor, leaveAfter, isSlow }: HowToRead,
): Promise<string> {
  const { random, signal } = ports
  let last = cursor
  let left = leaveAfter
  // Half of those who leave take their signal along, the others just stop.
  const leave = new AbortController()
  const byAbort = random.chance(0.5)
  const end = () => leave.abort()
  signal.addEventListener('abort', end, { once: true })
  try {
    for await (const event of random
      .pick(ports.clients)
      .events(job.jobId, { after: last, signal: leave.signal })) {
      last = event.id
      if (event.event === 'restart') {
        Object.assign(reading, { after: START, seen: [], restarts: reading.restarts + 1 })
        continue
      }
      reading.seen.push(fingerprint(event))
      if (isTerminal(event)) job.sealSeenAt = Math.min(job.sealSeenAt ?? Infinity, Date.now())
      left -= 1
      if (left <= 0 && byAbort) leave.abort()
      if (left <= 0) return last
      if (isSlow) await pause(ports, random.between(0, 30))
    }
    reading.over = true
    reading.overAt = Date.now()
    ports.journal.write('read whole', { job: job.jobId, consumer: reading.consumer })
  } catch (error) {
    if (!leave.signal.aborted && !isAway(error)) reading.fault = String(error)
  } finally {
    signal.removeEventListener('abort', end)
  }
  return last
}

async function pause({ signal }: ConsumerPorts, ms: number): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined)
}
