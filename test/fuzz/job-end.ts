import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { isTerminal } from '../../src/contract/event.ts'
import { QUEUE_NAMES, poolKeys } from '../../src/contract/keys.ts'
import { readLog } from '../support/job-log.ts'
import { MARK, POOL } from './shot.ts'

const KEYS = poolKeys(POOL)
const POLL_MS = 5

/** Whether a job is over: its stream is sealed and no queue holds it. */
async function isOver(redis: Redis, jobId: string): Promise<boolean> {
  const places = Object.values(QUEUE_NAMES).map((name) => `${KEYS.queuePrefix}:${name}:${jobId}`)
  const [last, held] = await Promise.all([
    redis.xrevrange(KEYS.events(jobId), '+', '-', 'COUNT', 1),
    redis.exists(...places),
  ])
  const event = last[0]?.[1][1]
  return held === 0 && (event === 'end' || event === 'error')
}

/** Waits until jobs are over; those that are not after a time. */
export async function waitForEnds(redis: Redis, jobIds: readonly string[], ms: number): Promise<string[]> {
  const until = performance.now() + ms
  let left = [...jobIds]
  for (;;) {
    const over = await Promise.all(left.map((jobId) => isOver(redis, jobId)))
    left = left.filter((_jobId, index) => over[index] !== true)
    if (left.length === 0 || performance.now() >= until) return left
    await sleep(POLL_MS)
  }
}

/** What is wrong with how a job ended. */
export async function checkEnd(
  redis: Redis,
  jobId: string,
): Promise<{ expected: string; got: string } | undefined> {
  const events = await readLog(redis, KEYS, jobId)
  const terminals = events.filter(isTerminal)
  const last = events.at(-1)
  if (terminals.length !== 1 || last === undefined || !isTerminal(last)) {
    const got = events.map(({ event }) => event).join(' ')
    return { expected: 'one terminal event, the last', got: got.slice(0, 300) }
  }
  if (last.event !== 'error') return undefined
  const { code, message } = last.data
  if (message.includes(MARK)) return { expected: 'no prompt and no secret in an error', got: message }
  return code === 'INTERNAL' ? { expected: 'any error but INTERNAL', got: message } : undefined
}

/** Where a job that is not over is, for people. */
export async function describeJob(redis: Redis, jobId: string): Promise<string> {
  const events = await redis.xrevrange(KEYS.events(jobId), '+', '-', 'COUNT', 3)
  const names = events.map(([, fields]) => fields[1]).toReversed()
  const held = await Promise.all(
    Object.values(QUEUE_NAMES).map(async (name) => {
      const key = `${KEYS.queuePrefix}:${name}:${jobId}`
      return (await redis.exists(key)) === 1
        ? `${name}, taken ${(await redis.hget(key, 'ats')) ?? 0} times`
        : []
    }),
  )
  return `events: ${names.join(' ') || 'none'}; in queue: ${held.flat().join(' and ') || 'none'}`
}
