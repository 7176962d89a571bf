/** What a bench can do with a stream of tokens instead of a whole worker. */
import type { Redis } from 'ioredis'
import { entryId, QUEUED_ID, START } from '../../src/contract/stream-id.ts'
import { createAttemptWriter } from '../../src/stream/attempt-writer.ts'
import { formatEntry } from '../../src/stream/entry.ts'
import { lastId } from '../../src/stream/event-log.ts'
import type { EventLog } from '../../src/stream/event-log.ts'
import type { TgiToken } from '../../src/tgi/answer.ts'
import type { GenerateOptions } from '../../src/tgi/generate.ts'
import type { Lab } from './lab.ts'
import { taggedPrompt } from './lab.ts'

const HOUR_MS = 3_600_000
const NEVER = new AbortController().signal

/** A request that the bare client sends as a worker would. */
export function generation(tag: string, maxNewTokens: number) {
  return { inputs: taggedPrompt(tag), parameters: {}, seed: 1, maxNewTokens }
}

/** A worker's options for a request, but for what listens. */
export function listening(onToken: GenerateOptions['onToken'], signal: AbortSignal = NEVER): GenerateOptions {
  return { signal, onToken, firstTokenTimeoutMs: 60_000, tokenTimeoutMs: 60_000 }
}

/** A token as a worker writes it. */
function tokenJson({ text, id, logprob, special }: TgiToken, i: number): string {
  return JSON.stringify(special ? { t: text, i, id, logprob, special } : { t: text, i, id, logprob })
}

/** One stream, parsed and thrown away. */
export async function generateOnly(lab: Lab, tag: string, tokens: number): Promise<void> {
  await lab.tgi.generate(
    generation(tag, tokens),
    listening(() => undefined),
  ).done
}

/** One stream, each token in an XADD that is awaited before the next. */
export async function generateAwaitingXadd(
  lab: Lab,
  redis: Redis,
  tag: string,
  tokens: number,
): Promise<void> {
  const key = lab.keys.events(tag)
  await generateAwaiting(lab, tag, tokens, async (n, data) => {
    await redis.xadd(key, entryId(1, n), 'event', 'token', 'data', data)
  })
}

/** One stream, each token in a write of the event log's own script that is awaited before the next. */
export async function generateAwaitingWrite(
  lab: Lab,
  log: EventLog,
  tag: string,
  tokens: number,
): Promise<void> {
  await generateAwaiting(lab, tag, tokens, async (n, data) => {
    const { written } = await log.write({
      jobId: tag,
      expect: n === 1 ? START : entryId(1, n - 1),
      entries: [{ id: entryId(1, n), event: 'token', data }],
      deadlineAt: Date.now() + HOUR_MS,
      retentionMs: HOUR_MS,
    })
    if (!written) throw new Error('a write was refused')
  })
}

/** One stream, each token (`n` from 1) in a write that is awaited before the next. */
async function generateAwaiting(
  lab: Lab,
  tag: string,
  tokens: number,
  write: (n: number, data: string) => Promise<void>,
): Promise<void> {
  const pending: string[] = []
  let written = 0
  let writing: Promise<void> | undefined
  async function writeAll(): Promise<void> {
    for (let data = pending[written]; data !== undefined; data = pending[written]) {
      written += 1
      await write(written, data)
    }
    writing = undefined
  }
  const { done } = lab.tgi.generate(
    generation(tag, tokens),
    listening((token) => {
      pending.push(tokenJson(token, pending.length))
      writing ??= writeAll()
    }),
  )
  await done
  await writing
}

/** One stream through the attempt's writer: the hot path of a worker without its jobs. */
export async function generateIntoWriter(
  lab: Lab,
  log: EventLog,
  tag: string,
  tokens: number,
): Promise<void> {
  const opening = formatEntry(QUEUED_ID, 'queued', {
    digest: '',
    accepted_at: 1,
    deadline_at: 1,
    queue_position: 0,
  })
  const times = { deadlineAt: Date.now() + HOUR_MS, retentionMs: HOUR_MS }
  await log.write({ jobId: tag, expect: lastId([]), entries: [opening], ...times })
  const writer = createAttemptWriter({
    log,
    jobId: tag,
    epoch: 1,
    history: [opening],
    ...times,
    confirmLock: () => Promise.resolve(true),
    onPressure: (full) => (full ? upstream.pause() : upstream.resume()),
  })
  let count = 0
  const upstream = lab.tgi.generate(
    generation(tag, tokens),
    listening((token) => {
      writer.append('token', tokenJson(token, count))
      count += 1
    }),
  )
  await upstream.done
  writer.seal('end', '{}')
  const outcome = await writer.outcome
  if (outcome !== 'sealed') throw new Error(`the writer's outcome was ${outcome}`)
}
