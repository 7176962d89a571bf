import { readFile } from 'node:fs/promises'
import { InvalidArgumentError, Option } from 'commander'
import type { Command } from 'commander'
import { PoolError } from '../contract/error.ts'
import type { ChatJob, JobInput, PromptJob } from '../contract/wire-types.ts'
import { DEFAULT_PREFIX } from '../contract/keys.ts'
import type { PoolClient } from '../client/pool-client.ts'
import { DEFAULT_REDIS_URL } from '../redis/address.ts'
import { decodeText } from '../runtime/read-text.ts'
import { LOG_LEVELS, createLogger } from '../runtime/log.ts'
import type { LogLevel, Logger } from '../runtime/log.ts'
import { errLine } from './print.ts'

/** Options of every command that reaches Redis. */
export interface RedisFlags {
  readonly redis: string
  readonly prefix: string
}

/** Options of every command that touches a pool. */
export interface PoolFlags extends RedisFlags {
  readonly pool: string
}

/** Adds `--redis` and `--prefix`. */
export function withRedis(command: Command): Command {
  return command
    .addOption(
      new Option('--redis <url>', 'Redis URL; put a password in REDIS_URL, not here')
        .env('REDIS_URL')
        .default(DEFAULT_REDIS_URL),
    )
    .addOption(
      new Option('--prefix <prefix>', 'prefix of all Redis keys')
        .env('TGI_POOL_PREFIX')
        .default(DEFAULT_PREFIX),
    )
}

/** Adds `--pool`, `--redis` and `--prefix`. */
export function withPool(command: Command): Command {
  return withRedis(
    command.addOption(new Option('--pool <pool>', 'the pool').env('TGI_POOL').makeOptionMandatory()),
  )
}

/** Adds `--log-level`. */
export function withLog(command: Command): Command {
  return command.addOption(
    new Option('--log-level <level>', 'log level, on stderr')
      .env('LOG_LEVEL')
      .choices(LOG_LEVELS)
      .default('info'),
  )
}

/** The logger of a command: lines for people on a terminal, JSON elsewhere. */
export function cliLogger(name: string, level: LogLevel): Logger {
  return createLogger(name, level, { pretty: process.stderr.isTTY })
}

/** Opens the pool of a command's flags, runs its work and closes the pool whatever happens. */
export async function usingPool<T>(flags: PoolFlags, work: (pool: PoolClient) => Promise<T>): Promise<T> {
  warnOfPassword(flags.redis)
  // BullMQ and ioredis are two thirds of what the command loads, and --help or a wrong flag needs neither.
  const { openPool } = await import('../client/pools.ts')
  const pool = await openPool({ redisUrl: flags.redis, pool: flags.pool, prefix: flags.prefix })
  try {
    return await work(pool)
  } finally {
    await pool.close()
  }
}

/** Arguments are visible to every user of the machine. */
export function warnOfPassword(url: string): void {
  if (!process.argv.some((arg) => arg.includes(url)) || !/:\/\/[^/]*:[^/]+@|password=./.test(url)) return
  errLine('tgi-pool: warning: a password among the arguments is visible in the process list; use REDIS_URL')
}

/** A whole number of at least `min`. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(
      `Expected a whole number from ${min}${max === Number.MAX_SAFE_INTEGER ? '' : ` to ${max}`}.`,
    )
  }
}

/** A number, 0 or more. */
export function decimal(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (Number.isFinite(value) && value >= 0) return value
  throw new InvalidArgumentError('Expected a number, 0 or more.')
}

/** An address with its port: without one, http means 80, which is almost never intended. */
export function replicaAddress(text: string): string {
  const match = /^https?:\/\/(?:[^@/]*@)?(?:\[[^\]]+\]|[^:/?#]+):(\d+)(?:\/[^?#]*)?$/.exec(text)
  if (match !== null && URL.canParse(text)) return text
  throw new InvalidArgumentError('Expected http://host:port or https://host:port, with the port.')
}

/** The API key of a replica: `TGI_API_KEY`, or the file that `TGI_API_KEY_FILE` names. Never a flag. */
export async function readApiKey(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const { TGI_API_KEY: key, TGI_API_KEY_FILE: file } = env
  if (key !== undefined && key !== '') return key
  if (file === undefined || file === '') return undefined
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new PoolError('CONFIG', `TGI_API_KEY_FILE: cannot read ${file}`, { cause })
  })
  return decodeText(bytes, `TGI_API_KEY_FILE: ${file}`).trim()
}

/** Options of a command that sends the API key to replicas whose addresses come from Redis. */
export interface KeyFlags {
  readonly apiKeyFor?: readonly string[]
}

/** Adds `--api-key-for`. */
export function withKey(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--api-key-for <urls>',
        'replica base URLs that may receive the API key, e.g. http://gpu-1:8080,http://gpu-2:8080 (default: none)',
      )
        .env('TGI_API_KEY_FOR')
        .argParser((text: string) => text.split(',').map((url) => replicaAddress(url.trim()))),
    )
    .addHelpText(
      'after',
      '\nThe API key for the replicas is read from TGI_API_KEY, or from the file that TGI_API_KEY_FILE names. It is sent only to the\naddresses of --api-key-for, because anyone who can write to Redis can add addresses there.',
    )
}

/** Options that describe one job. */
export interface JobFlags {
  readonly maxNewTokens?: number
  readonly seed?: number
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly stop?: string[]
  readonly priority?: 'interactive' | 'batch'
  readonly deadlineMs?: number
  readonly jobId?: string
  readonly correlationId?: string
  readonly system?: string
  readonly chat?: boolean
}

/** Adds the options of one job. */
export function withJob(command: Command): Command {
  return command
    .option('--chat', "send the prompt as a user message, through the model's chat template")
    .option('--system <text>', 'system message in front of the prompt; implies --chat', (text) =>
      typed(text, '--system'),
    )
    .option('--max-new-tokens <n>', "maximum number of tokens to generate (default: the pool's)", integer(1))
    .option('--seed <n>', 'sampling seed (default: derived from the job id)', integer(0))
    .option('--temperature <t>', 'sampling temperature; 0 is greedy', decimal)
    .option('--top-p <p>', 'nucleus sampling: the most likely tokens up to this probability', decimal)
    .option('--top-k <n>', 'sample from the n most likely tokens; 0 is off', integer(0))
    .option('--stop <text>', 'text that ends the answer; may be repeated', collect)
    .addOption(
      new Option('--priority <priority>', 'interactive jobs go first').choices(['interactive', 'batch']),
    )
    .option(
      '--deadline-ms <ms>',
      "time limit for the job in ms, queue wait included (default: the pool's)",
      integer(1),
    )
    .option('--job-id <id>', 'idempotency key (default: generated)')
    .option('--correlation-id <id>', 'id that appears in events and logs')
}

function collect(text: string, before: string[] = []): string[] {
  return [...before, typed(text, '--stop')]
}

/** The job that a prompt and its options describe. */
export function jobOf(prompt: string, flags: JobFlags): JobInput {
  const { temperature, topP, topK } = flags
  const samples = temperature !== undefined || topP !== undefined || (topK ?? 0) > 0
  const parameters = {
    ...(flags.maxNewTokens === undefined ? {} : { max_new_tokens: flags.maxNewTokens }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { top_p: topP }),
    ...(topK === undefined ? {} : { top_k: topK }),
    // A temperature of 0 is greedy, whatever else is given.
    ...(samples && temperature !== 0 ? { do_sample: true } : {}),
    ...(flags.stop === undefined ? {} : { stop: flags.stop }),
  }
  return {
    ...promptOf(prompt, flags),
    parameters,
    ...(flags.priority === undefined ? {} : { priority: flags.priority }),
    ...(flags.deadlineMs === undefined ? {} : { deadline_ms: flags.deadlineMs }),
    ...(flags.correlationId === undefined ? {} : { correlation_id: flags.correlationId }),
  }
}

/** The prompt as `inputs`, or as the user message of a chat. */
function promptOf(
  prompt: string,
  { chat, system }: JobFlags,
): Pick<PromptJob, 'inputs'> | Pick<ChatJob, 'messages'> {
  if (chat !== true && system === undefined) return { inputs: prompt }
  // The chat template would turn an empty message into a non-empty prompt.
  if (prompt === '')
    throw new PoolError('INVALID_PARAMS', 'the prompt is empty; expected at least one character')
  const messages = [{ role: 'user', content: prompt }]
  return { messages: system === undefined ? messages : [{ role: 'system', content: system }, ...messages] }
}

/**
 * A prompt as typed, or all of standard input when it is `-`.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` for bytes that are not text
 */
export async function readPrompt(argument: string): Promise<string> {
  if (argument !== '-') return typed(argument, 'the prompt')
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return decodeText(Buffer.concat(chunks), 'standard input')
}

/** Node replaces bytes of an argument that are not UTF-8 with U+FFFD. */
function typed(argument: string, what: string): string {
  if (!argument.includes('\uFFFD')) return argument
  throw new PoolError(
    'INVALID_PARAMS',
    `${what}: expected UTF-8, got other bytes or the character U+FFFD, which stands for them. Pass a prompt with U+FFFD on standard input, with - in its place`,
  )
}
