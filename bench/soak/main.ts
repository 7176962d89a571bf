/**
 * `npm run soak -- [--minutes N] [--streams N]`
 *
 * The product as it is run, under a steady load: a worker, a gateway and the metrics process as commands, each in a process
 * of its own with the image's Node flags, a simulated replica, and a Redis with an append-only file. Streams of 50 tokens a
 * second are always under way, each answer of 500 tokens followed by the next; every one is read through the gateway, in the
 * request that put it in.
 *
 * Every two seconds the resident memory of each process and the connections that Redis holds are taken down. At the end the
 * last minute is held against the second one (median each): within 5 % for each process, and the same connections. The first
 * minute is not counted: V8's heaps take their shape then, and retention (30 s here) has not yet begun to delete streams.
 *
 * Exit 0 when all of that holds, 1 when not, 2 on bad usage. Linux: memory is read from /proc.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { median } from '../support/statistics.ts'
import { startStage } from './stage.ts'
import type { Stage } from './stage.ts'
import { startStreams } from './streams.ts'

const EVERY_MS = 2000
const MINUTE_MS = 60_000
const MOST_GROWTH = 1.05

/** What was seen at one moment. */
interface Sample {
  readonly atMs: number
  /** MiB, by process. */
  readonly resident: Readonly<Record<string, number>>
  readonly connections: number
}

function residentMib(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kib) / 1024
}

async function take(stage: Stage, sinceMs: number): Promise<Sample> {
  return {
    atMs: performance.now() - sinceMs,
    resident: Object.fromEntries(
      Object.entries(stage.processes).map(([name, pid]) => [name, residentMib(pid)]),
    ),
    connections: await stage.connections(),
  }
}

/** The samples of one minute, counted from 0. */
function minute(samples: readonly Sample[], nth: number): readonly Sample[] {
  return samples.filter(({ atMs }) => Math.floor(atMs / MINUTE_MS) === nth)
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Prints what was found; whether it is as it should be. */
function report(samples: readonly Sample[], names: readonly string[], minutes: number): boolean {
  const [before, after] = [minute(samples, 1), minute(samples, minutes - 1)]
  let good = true
  for (const name of names) {
    const of = (chosen: readonly Sample[]) =>
      median(chosen.map(({ resident }) => resident[name] ?? Number.NaN))
    const growth = of(after) / of(before)
    const met = growth <= MOST_GROWTH
    good &&= met
    const trend = Array.from({ length: minutes }, (_, nth) => of(minute(samples, nth)).toFixed(0)).join(' ')
    say(
      `${name.padEnd(9)} ${of(before).toFixed(1)} MiB in minute 2, ${of(after).toFixed(1)} in minute ${minutes}: × ${growth.toFixed(3)} ${met ? 'met' : 'NOT MET'} (≤ ${MOST_GROWTH}); by minute: ${trend}`,
    )
  }
  const counts = samples.filter(({ atMs }) => atMs >= MINUTE_MS).map(({ connections }) => connections)
  const [least, most] = [Math.min(...counts), Math.max(...counts)]
  good &&= least === most
  say(
    `Redis holds ${least === most ? most : `${least} to ${most}`} connections ${least === most ? 'met' : 'NOT MET'} (flat)`,
  )
  return good
}

function integer(flag: string, text: string | undefined, most: number, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text)
  if (Number.isSafeInteger(value) && value > 0 && value <= most) return value
  throw new Error(`--${flag}: expected an integer from 1 to ${most}, got ${JSON.stringify(text)}`)
}

function parse(): { readonly minutes: number; readonly streams: number } {
  const { values } = parseArgs({ options: { minutes: { type: 'string' }, streams: { type: 'string' } } })
  const minutes = integer('minutes', values.minutes, 1440, 10)
  if (minutes < 3)
    throw new Error(`--minutes: expected at least 3, since minute 2 is held against the last, got ${minutes}`)
  return { minutes, streams: integer('streams', values.streams, 1000, 64) }
}

async function main(): Promise<number> {
  let wishes: ReturnType<typeof parse>
  try {
    wishes = parse()
  } catch (error) {
    process.stderr.write(
      `soak: ${error instanceof Error ? error.message : String(error)}\nusage: npm run soak -- [--minutes 10] [--streams 64]\n`,
    )
    return 2
  }
  const { minutes, streams } = wishes
  await using stage = await startStage(streams)
  await using load = startStreams(stage.gatewayUrl, streams)
  const samples: Sample[] = []
  const since = performance.now()
  while (performance.now() - since < minutes * MINUTE_MS) {
    await sleep(EVERY_MS)
    load.check()
    samples.push(await take(stage, since))
    const last = samples.at(-1)
    if (samples.length % 15 === 0 && last !== undefined) {
      const sizes = Object.entries(last.resident).map(([name, size]) => `${name} ${size.toFixed(0)}`)
      process.stderr.write(
        `${(last.atMs / MINUTE_MS).toFixed(1)} min: ${load.answers} answers, ${sizes.join(', ')} MiB, ${last.connections} connections\n`,
      )
    }
  }
  const good = report(samples, Object.keys(stage.processes), minutes)
  process.stdout.write(
    `soak: ${good ? 'OK' : 'FAILED'} minutes=${minutes} streams=${streams} answers=${load.answers}\n`,
  )
  return good ? 0 : 1
}

process.exitCode = await main()
