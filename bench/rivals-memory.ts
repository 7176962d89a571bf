/**
 * What does the process between replica and readers weigh, against what one would use instead of tgi-pool?
 *
 * Measured: the process that calls the replica (our worker, the BullMQ worker, the web handler), while 64 answers of 2,000
 * tokens go through it at 200 tokens a second each, all with a reader. `idle_rss_mib`: before; `work_rss_mib`: the most
 * seen; `held_heap_mib`: JavaScript's heap after a collection when 1,900 tokens of each answer are out, above that of the
 * idle process: what it holds, garbage apart; `after_heap_mib`: the same 500 ms after the last answer. Each rival's processes
 * are started for this alone. `direct` has no such process.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { againstOurs } from './rivals/against-ours.ts'
import type { Rival, RivalName } from './rivals/rival.ts'
import { withRivals } from './rivals/rivals.ts'
import { newTag, withLab } from './support/lab.ts'
import type { Lab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'

interface Size {
  readonly streams: number
  readonly tokens: number
  /** Tokens of every answer that are out when the heap is weighed. */
  readonly heldTokens: number
}

const NAMES = ['tgi_pool', 'bullmq_xadd', 'resumable_stream'] as const satisfies readonly RivalName[]
const TOKENS_PER_SECOND = 200
const FULL: Size = { streams: 64, tokens: 2000, heldTokens: 1900 }
// Four seconds, of which the first half second is enough to weigh: a machine that does other things gets the time.
const QUICK: Size = { streams: 4, tokens: 800, heldTokens: 30 }
const EVERY_MS = 100
const AFTER_MS = 500
const MIB = 2 ** 20

/** See the head of this file. */
export const rivalsMemory: Bench = {
  name: 'rivals-memory',
  question: 'What does the process between replica and readers weigh with 64 answers of 2,000 tokens?',
  subjects: NAMES,
  run: (settings) =>
    withLab(
      { tokensPerSecond: TOKENS_PER_SECOND, prefillMs: 20, maxConcurrentRequests: 128, observed: false },
      (lab) => measure(lab, settings),
    ),
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const size = settings.quick ? QUICK : FULL
  const found: [string, Record<string, number>][] = []
  for (const name of NAMES) {
    settings.progress(`rivals-memory: ${name}`)
    await withRivals(lab, { names: [name], slots: size.streams }, async ([rival]) => {
      if (rival !== undefined) found.push([name, await weigh(rival, size)])
    })
  }
  return againstOurs(Object.fromEntries(found), ['work_rss_mib'])
}

async function weigh(rival: Rival, { streams, tokens, heldTokens }: Size) {
  const { server } = rival
  if (server === undefined) throw new Error(`${rival.name} has no process to weigh`)
  // One answer first: what is loaded and compiled once is not what answers weigh.
  await rival.ask(newTag(), 20, () => undefined).ended
  const idle = await server.weigh(true)
  const counts = Array.from({ length: streams }, () => 0)
  const over = new AbortController()
  const answers = Promise.all(
    counts.map((_, index) => {
      const count = () => (counts[index] = (counts[index] ?? 0) + 1)
      return rival.ask(newTag(), tokens, count).ended
    }),
  ).finally(() => over.abort())
  // Told below; until then it is nobody's.
  answers.catch(() => undefined)
  let mostBytes = 0
  let held: number | undefined
  while (!over.signal.aborted) {
    mostBytes = Math.max(mostBytes, (await server.weigh()).rssBytes)
    if (held === undefined && Math.min(...counts) >= heldTokens) held = (await server.weigh(true)).heapBytes
    await sleep(EVERY_MS)
  }
  await answers
  if (held === undefined) throw new Error(`${rival.name}: the answers were over before they could be weighed`)
  await sleep(AFTER_MS)
  const after = await server.weigh(true)
  return {
    idle_rss_mib: idle.rssBytes / MIB,
    work_rss_mib: mostBytes / MIB,
    held_heap_mib: Math.max(0, held - idle.heapBytes) / MIB,
    after_heap_mib: Math.max(0, after.heapBytes - idle.heapBytes) / MIB,
  }
}
