import { readFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { freePort } from '../../src/redis/server.ts'
import { startCli } from '../cli/run-cli.ts'
import type { CliOptions, CliRun } from '../cli/run-cli.ts'
import type { Lab } from '../support/lab.ts'
import { labOn, startOwnRedis } from '../support/own-redis.ts'
import { startProxy } from '../support/proxy.ts'
import type { Proxy } from '../support/proxy.ts'

/** Words that nobody may repeat, by what they are; the simulator's model never writes one by itself. */
export const CANARIES = {
  prompt: 'xylophonequartz-prompt',
  chat: 'xylophonequartz-chat',
  stop: 'xylophonequartz-stop',
  apiKey: 'xylophonequartz-api-key',
  fileKey: 'xylophonequartz-file-key',
  password: 'xylophonequartz-password',
  wrongPassword: 'xylophonequartz-wrong-password',
  bearer: 'xylophonequartz-bearer',
  wrongBearer: 'xylophonequartz-wrong-bearer',
  reason: 'xylophonequartz-reason',
} as const

/** What all of them have in common. */
export const CANARY = 'xylophonequartz'

/** The pool of these tests. */
export const POOL = 'canaries'
/** A prompt with its canary. */
export const PROMPT = `Say ${CANARIES.prompt} to nobody`
/** How long a test of many processes may take (ms). */
export const LIMIT_MS = 180_000
/** How long a process may take to start beside many others (ms). */
export const START_MS = 60_000

/** Real processes on a Redis with a password, behind a proxy, and all that they have said. */
export interface CanaryStage {
  readonly lab: Lab
  readonly proxy: Proxy
  /** Through the proxy, password and all. */
  readonly redisUrl: string
  readonly dir: string
  /** Files with a key each. */
  readonly files: { readonly apiKey: string; readonly bearer: string }
  /** Starts a command, with REDIS_URL set; it is killed after the test. */
  start(args: readonly string[], options?: CliOptions): CliRun
  /** Runs a command to its end. */
  run(args: readonly string[], options?: CliOptions): Promise<CliRun>
  /** A server of ours on a free port, up. */
  serve(verb: 'gateway' | 'metrics', args: readonly string[], options?: CliOptions): Promise<string>
  /** Puts down what somebody said, by a name. */
  note(name: string, text: string): void
  /** All that was said, by whom: notes, and what every process has written and is called. */
  said(): Promise<ReadonlyMap<string, string>>
  /** Ends what runs, in good order. */
  end(): Promise<void>
}

/** Makes a stage; it is taken down when the test is over. */
export async function canaryStage(): Promise<CanaryStage> {
  const { server } = await startOwnRedis()
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-canaries-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const files = { apiKey: join(dir, 'api-key'), bearer: join(dir, 'bearer-keys') }
  await writeFile(files.apiKey, `${CANARIES.fileKey}\n`)
  await writeFile(files.bearer, `${CANARIES.bearer}\n`)
  const open = await labOn(server.url)
  await open.redis.config('SET', 'requirepass', CANARIES.password)
  const withPassword = (url: string) => url.replace('//', `//:${CANARIES.password}@`)
  const lab = await labOn(withPassword(server.url))
  const proxy = await startProxy(server.port)
  onTestFinished(() => proxy.close())
  const redisUrl = withPassword(proxy.url)
  const runs: { readonly name: string; readonly run: CliRun; readonly calledAs: Promise<string> }[] = []
  onTestFinished(async () => {
    for (const { run } of runs) run.kill('SIGKILL')
    await Promise.all(runs.map(({ run }) => run.over))
  })
  const notes = new Map<string, string>()

  function start(args: readonly string[], options: CliOptions = {}): CliRun {
    const run = startCli(args, { ...options, env: { REDIS_URL: redisUrl, ...options.env } })
    runs.push({ name: `${runs.length} ${args.join(' ')}`, run, calledAs: callSign(run.pid) })
    return run
  }

  return {
    lab,
    proxy,
    redisUrl,
    dir,
    files,
    start,
    async run(args, options) {
      const run = start(args, options)
      await run.over
      return run
    },
    async serve(verb, args, options) {
      const port = await freePort()
      const run = start([verb, '--port', String(port), ...args], options)
      const url = `http://127.0.0.1:${port}`
      await expect
        .poll(async () => run.isOver || (await fetch(`${url}/livez`).catch(() => undefined))?.status, {
          timeout: START_MS,
        })
        .toBe(200)
      return url
    },
    note: (name, text) => void notes.set(`${notes.size} ${name}`, text),
    async said() {
      const all = new Map(notes)
      for (const { name, run, calledAs } of runs) {
        all.set(`stdout of ${name}`, run.stdout)
        all.set(`stderr of ${name}`, run.stderr)
        all.set(`arguments and title of ${name}`, `${await calledAs}\n${await callSign(run.pid)}`)
      }
      return all
    },
    async end() {
      const left = runs.filter(({ run }) => !run.isOver)
      for (const { run, name } of left) {
        notes.set(`arguments and title at the end of ${name}`, await callSign(run.pid))
        run.kill('SIGTERM')
      }
      for (const { run } of left) await run.over
    },
  }
}

/** How everybody on the machine sees a process; nothing once it is gone. */
async function callSign(pid: number): Promise<string> {
  const files = [`/proc/${pid}/cmdline`, `/proc/${pid}/comm`]
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')))
  return texts.join('\n')
}

/** Who repeats one of those texts, whatever the case. */
export function whoSays(said: ReadonlyMap<string, string>, texts: readonly string[]): string[] {
  const wanted = texts.map((text) => text.toLowerCase())
  return [...said].flatMap(([who, text]) => {
    const lower = text.toLowerCase()
    return wanted.filter((word) => lower.includes(word)).map((word) => `${who}: ${excerpt(lower, word)}`)
  })
}

function excerpt(text: string, word: string): string {
  const at = text.indexOf(word)
  return text.slice(Math.max(0, at - 80), at + word.length + 40)
}

/** Pieces of an answer that are long enough to be nobody else's. */
export function piecesOf(text: string): string[] {
  return text.match(/[\s\S]{24}/g) ?? []
}
