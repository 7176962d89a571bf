/**
 * Plays the workers of many jobs: writes through the event log, one write a token, at an even pace over all streams. The
 * token's text ends in the time just before its write (support/stamped-text.ts).
 */
import { poolKeys } from '../../src/contract/keys.ts'
import { QUEUED_ID, START, entryId } from '../../src/contract/stream-id.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { formatEntry } from '../../src/stream/entry.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { monotonicMs } from '../support/clock.ts'
import { inParallel } from '../support/in-parallel.ts'
import { serveParent } from '../support/weighed-child.ts'
import { idsOf } from './writer-process.ts'
import type { WriterOrder, WriterSettings } from './writer-process.ts'

const EPOCH = 1
const TICK_MS = 2
const HOUR_MS = 3_600_000

const { redisUrl, pool, jobs, perSecond } = JSON.parse(process.argv[2] ?? '{}') as WriterSettings
const jobIds = idsOf(jobs)
const redis = await connectToServer(redisUrl, { role: 'writer' })
const log = createEventLog(redis, poolKeys(pool))
const times = { deadlineAt: Date.now() + HOUR_MS, retentionMs: HOUR_MS }
const underWay = new Set<Promise<void>>()
let sent = 0
let timer: NodeJS.Timeout | undefined

async function open(jobId: string): Promise<void> {
  const queued = { digest: '', accepted_at: 1, deadline_at: times.deadlineAt, queue_position: 0 }
  const started = {
    attempt: 1,
    engine: 'tgi' as const,
    engine_version: 'bench',
    pool_id: pool,
    replica_id: 'bench',
    model_id: 'bench',
    seed: 1,
    queue_time_ms: 0,
    determinism: 'best_effort' as const,
    next_token: 0,
  }
  const entries = [
    formatEntry(QUEUED_ID, 'queued', queued),
    formatEntry(entryId(EPOCH, 1), 'started', started),
  ]
  await log.write({ jobId, expect: START, entries, ...times })
}

/** The `nth` token of all: streams take turns. */
async function writeToken(nth: number): Promise<void> {
  const jobId = jobIds[nth % jobIds.length] ?? ''
  const i = Math.floor(nth / jobIds.length)
  const t = ` river@${monotonicMs().toFixed(3)}`
  const entry = formatEntry(entryId(EPOCH, i + 2), 'token', { t, i, id: 300, logprob: -0.5 })
  const result = await log.write({ jobId, expect: entryId(EPOCH, i + 1), entries: [entry], ...times })
  if (!result.written) throw new Error(`a write was refused: the last id is ${result.last}`)
}

function go(): void {
  const startMs = monotonicMs()
  timer = setInterval(() => {
    const due = ((monotonicMs() - startMs) / 1000) * perSecond * jobIds.length
    for (; sent < due; sent += 1) {
      const writing: Promise<void> = writeToken(sent).finally(() => underWay.delete(writing))
      underWay.add(writing)
    }
  }, TICK_MS)
}

async function end(): Promise<number> {
  clearInterval(timer)
  await Promise.all(underWay)
  return sent
}

await inParallel(jobIds.length, 32, (index) => open(jobIds[index] ?? ''))
serveParent({
  busy: () => underWay.size,
  order: (what) => ((what as WriterOrder) === 'go' ? go() : end()),
  stop: async () => {
    clearInterval(timer)
    redis.disconnect()
  },
})
