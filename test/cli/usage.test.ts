import { describe, expect } from 'vitest'
import { connectToServer } from '../../src/redis/connect.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import { freePort } from '../../src/redis/server.ts'
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'
import type { Stage } from './stage.ts'

/** What is typed, and what has to be said about it. No case may print the word SECRET. */
const CASES: readonly (readonly [readonly string[], RegExp])[] = [
  [['enqueu', 'SECRET'], /unknown command 'enqueu'/],
  [['enqueue', 'SECRET', '--bogus'], /unknown option '--bogus'/],
  [['enqueue', 'SECRET', '--temprature', '1'], /Did you mean --temperature\?/],
  [
    ['enqueue', 'SECRET', '--max-tokens', '5'],
    /unknown option '--max-tokens': use --max-new-tokens \(--help/,
  ],
  [['generate', 'SECRET', '--n-predict=5'], /unknown option '--n-predict': use --max-new-tokens/],
  [['generate', '--prompt', 'SECRET'], /unknown option '--prompt': the prompt is an argument/],
  [['generate', 'SECRET', '--model', 'm'], /unknown option '--model': a pool serves one model/],
  [['simulator', '--port', '0', '--model', 'm'], /unknown option '--model': use --model-id/],
  [
    ['worker', '--replica', 'http://127.0.0.1:1', '--url', 'http://127.0.0.1:1'],
    /unknown option '--url': use --replica/,
  ],
  [
    ['worker', '--replica', 'http://127.0.0.1:1', '--host', 'h'],
    /unknown option '--host': use --health-host/,
  ],
  [
    ['worker', '--replica', 'http://127.0.0.1:1', '--concurrency', '4'],
    /unknown option '--concurrency': use --slots/,
  ],
  [['pool', 'show', '--url', 'SECRET'], /unknown option '--url': use --redis/],
  [
    ['worker', '--replica', 'http://127.0.0.1:1', '--api-key=SECRET'],
    /unknown option '--api-key': keys are read from the environment/,
  ],
  [['doctor', '--password=SECRET'], /unknown option '--password' \(--help/],
  [['run', 'SECRET'], /unknown command 'run': use generate \(--help/],
  [['serve'], /unknown command 'serve': use gateway or worker/],
  [['ps'], /unknown command 'ps': use (?:jobs, )?replicas or pool list/],
  [['status'], /unknown command 'status': use doctor, job or replicas/],
  [['logs', 'j'], /unknown command 'logs': use events/],
  [['stop', 'j'], /unknown command 'stop': use cancel/],
  [['pool', 'ls'], /unknown command 'ls': use pool list/],
  [['SECRET words'], /unknown command; a prompt goes after a verb: tgi-pool generate "PROMPT"/],
  [['enqueue'], /expected a prompt or --file, got neither/],
  [['enqueue', 'SECRET', '--file', 'x'], /expected a prompt or --file, got both/],
  [['enqueue', ''], /inputs: the prompt is empty; expected at least one character/],
  [['generate', ''], /inputs: the prompt is empty; expected at least one character/],
  [['generate', '-5 + 3 SECRET'], /starts with - goes after --/],
  [['enqueue', '- SECRET'], /starts with - goes after --/],
  [['generate', '--- SECRET'], /starts with - goes after --/],
  [['generate', 'SECRET \uFFFD'], /the prompt: expected UTF-8/],
  [['generate', 'SECRET', '--stop', '\uFFFD'], /--stop: expected UTF-8/],
  [['generate', '', '--chat'], /the prompt is empty; expected at least one character/],
  [['generate', 'SECRET', '--system', '\uFFFD'], /--system: expected UTF-8/],
  [['generate', 'SECRET', '--top-k', '-1'], /--top-k .*'-1'.*from 0/],
  [['generate'], /missing required argument 'prompt'/],
  [['enqueue', 'SECRET', '--max-new-tokens', '0'], /--max-new-tokens .*'0'.*whole number from 1/],
  [['enqueue', 'SECRET', '--max-new-tokens', '1e3'], /--max-new-tokens .*'1e3'.*whole number from 1/],
  [['enqueue', 'SECRET', '--max-new-tokens', '65537'], /at most 65536 .*max_max_new_tokens.*got 65537/],
  [['enqueue', 'SECRET', '--deadline-ms', '0'], /--deadline-ms .*'0'.*whole number from 1/],
  [
    ['enqueue', 'SECRET', '--deadline-ms', '99999999999'],
    /deadline_ms: expected at most 86400000 .*got 99999999999/,
  ],
  [['enqueue', 'SECRET', '--seed', '9007199254740992'], /--seed .*'9007199254740992'/],
  [['enqueue', 'SECRET', '--temperature', 'hot'], /--temperature .*'hot'.*number, 0 or more/],
  [['enqueue', 'SECRET', '--top-p', '1.5'], /parameters\.top_p: .*<=1, got 1\.5/],
  [['enqueue', 'SECRET', '--priority', 'high'], /--priority .*'high'.*interactive, batch/],
  [['enqueue', 'SECRET', '--job-id', '123'], /job id: expected .*not digits only.*got "123"/],
  [['enqueue', 'SECRET', '--job-id', 'a b'], /job id: expected .*got "a b"/],
  [['enqueue', 'SECRET', '--correlation-id', 'a/b'], /correlation_id: expected .*got "a\/b"/],
  [['enqueue', 'SECRET', '--pool', 'Big_Pool'], /pool: expected 1 to 63 of a-z.*got "Big_Pool"/],
  [['enqueue', 'SECRET', '--redis', 'http://127.0.0.1:1'], /Redis address: expected redis:\/\//],
  [['worker'], /required option '--replica <url>'/],
  [['worker', '--replica', '127.0.0.1:8080'], /--replica .*'127\.0\.0\.1:8080'.*http:\/\/host:port/],
  [['worker', '--replica', 'http://127.0.0.1'], /--replica .*'http:\/\/127\.0\.0\.1'.*with the port/],
  [['worker', '--replica', 'http://127.0.0.1:99999'], /--replica .*'http:\/\/127\.0\.0\.1:99999'/],
  [['worker', '--replica', 'http://127.0.0.1:1', '--slots', '0'], /--slots .*'0'.*from 1 to 10000/],
  [['worker', '--replica', 'http://127.0.0.1:1', '--slots', 'many'], /--slots .*'many'.*from 1 to 10000/],
  [['worker', '--replica', 'http://127.0.0.1:1', '--replica-id', 'A B'], /replica id: expected .*got "A B"/],
  [['simulator'], /required option '--port <n>'/],
  [['simulator', '--port', '70000'], /--port .*'70000'.*from 0 to 65535/],
  [['simulator', '--port', '0', '--fault', 'sulk'], /unknown fault "sulk"; expected .*crash, stall/],
  [['simulator', '--port', '0', '--fault', 'crash:after=soon'], /"crash:after=soon"; expected after=N/],
  [['pool'], /expected a verb; --help lists them/],
]

async function jobsOf(stage: Stage): Promise<string[]> {
  const redis = await connectToServer(stage.redisUrl, { role: 'commands' })
  try {
    return await redis.keys(poolKeys(stage.pool).events('*'))
  } finally {
    redis.disconnect()
  }
}

describe.concurrent('what is typed wrong', () => {
  test.for(CASES)('is told and enqueues nothing: %j', async ([args, message], { stage }) => {
    const client = await stage.client()
    const { status, stdout, stderr } = await stage.cli(args)
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/SECRET|\n {4}at /)
    expect(await jobsOf(stage)).toEqual([])
    expect(await client.replicas()).toEqual([])
  })

  test('is told when no pool is named, neither by flag nor by TGI_POOL', async ({ stage }) => {
    const result = await stage.cli(['enqueue', 'hello'], { env: { TGI_POOL: '' } })
    expect(result).toMatchObject({ status: 2, stdout: '' })
    expect(result.stderr).toMatch(/pool/)
  })

  test('is told of a variable as of a flag', async ({ stage }) => {
    const result = await stage.cli(['worker'], { env: { TGI_REPLICA: 'localhost:8080' } })
    expect(result).toMatchObject({ status: 2, stdout: '' })
    expect(result.stderr).toMatch(/'localhost:8080' from env 'TGI_REPLICA' is invalid/)
  })

  test('is one JSON line with --json when the job is at fault', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['enqueue', 'hello', '--max-new-tokens', '70000', '--json'])
    expect(result).toMatchObject({ status: 2, stdout: '' })
    expect(jsonLines(result.stderr)).toMatchObject([{ error: { code: 'INVALID_PARAMS', retriable: false } }])
  })

  test('is a key file that is not there', async ({ stage }) => {
    const env = { TGI_API_KEY_FILE: `${stage.dir}/nope` }
    const result = await stage.cli(['worker', '--replica', 'http://127.0.0.1:1'], { env })
    expect(result).toMatchObject({ status: 2, stdout: '' })
    expect(result.stderr).toMatch(/^tgi-pool: CONFIG: TGI_API_KEY_FILE: cannot read .*nope\n$/)
  })

  test('is a port that somebody else has', async ({ stage }) => {
    const { port } = await stage.replica({ port: await freePort() })
    const result = await stage.cli(['simulator', '--port', String(port)])
    expect(result).toMatchObject({ status: 2, stdout: '' })
    expect(result.stderr).toBe(
      `tgi-pool: CONFIG: cannot listen on 127.0.0.1:${port}: the port is in use (EADDRINUSE); choose another with --port (0 picks a free one), or stop the process that uses it\n`,
    )
  })

  test('is a prompt without quotes, which is not repeated', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['enqueue', 'SECRET', 'words'])
    expect(result.status).toBe(2)
    expect(result.stderr).not.toContain('SECRET')
  })

  test('is one JSON line with --json when a flag is at fault, too', async ({ stage }) => {
    const result = await stage.cli(['enqueue', 'hello', '--max-new-tokens', 'ten', '--json'])
    expect(jsonLines(result.stderr)).toMatchObject([{ error: { code: 'INVALID_PARAMS' } }])
  })

  test('is not an empty REDIS_URL, which means the default', async ({ stage }) => {
    const result = await stage.cli(['pool', 'list'], { env: { REDIS_URL: '' } })
    expect(result.stderr).not.toContain('Redis address')
  })
})
