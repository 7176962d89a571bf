import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { freePort } from '../../src/redis/server.ts'
import { collect } from '../support/job-log.ts'
import { CANARIES, LIMIT_MS, POOL, PROMPT, canaryStage, piecesOf, whoSays } from './canaries-stage.ts'

/** Verbs whose job it is to print a job's text. */
const PRINTS_TEXT = /stdout of \d+ (generate|events|job) /

/** Does something for each, a few at a time: a command wants half a processor while it starts. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const left = items.values()
  const lane = async () => {
    for (const item of left) await work(item)
  }
  await Promise.all([lane(), lane(), lane(), lane()])
}

test.for(['debug', 'trace'])(
  'the verbs with LOG_LEVEL=%s tell no prompt, no reason, no key and no password, and text only where asked for it',
  { timeout: LIMIT_MS },
  async (level) => {
    const stage = await canaryStage()
    const { lab, dir } = stage
    const client = await lab.client({}, POOL)
    const replica = await lab.replica({ tokensPerSecond: 100 })
    await lab.worker(replica, { pool: POOL })
    const env = { LOG_LEVEL: level, TGI_POOL: POOL, TGI_API_KEY: CANARIES.apiKey }
    const stdin = PROMPT
    const generating = stage.start(['generate', '-', '--max-new-tokens', '60', '--job-id', 'g'], {
      env,
      stdin,
    })
    await generating.printed(' ')
    stage.note('generate, as it runs', [...(await stage.said()).values()].slice(-1).join(''))
    await stage.run(['enqueue', '-', '--job-id', 'a', '--max-new-tokens', '30'], { env, stdin })
    await stage.run(['enqueue', '-', '--job-id', 'b', '--max-new-tokens', '500'], { env, stdin })
    await stage.run(['events', 'a'], { env })
    await client.cancel('b', { reason: CANARIES.reason })
    await generating.over

    const lines = [
      `{"inputs":"${CANARIES.prompt}`,
      CANARIES.prompt,
      JSON.stringify({ inputs: [CANARIES.prompt] }),
      JSON.stringify({ inputs: PROMPT, parameters: { stop: CANARIES.stop } }),
      JSON.stringify({ messages: [{ role: 'user', content: 5 }, CANARIES.chat] }),
      JSON.stringify({ job_id: 'a', inputs: `${PROMPT}, another` }),
    ]
    const file = join(dir, 'jobs.jsonl')
    await writeFile(file, `${lines.join('\n')}\n`)
    const huge = CANARIES.prompt.repeat(100_000)
    const wrong = stage.redisUrl.replace(CANARIES.password, CANARIES.wrongPassword)
    const dead = `redis://:${CANARIES.password}@127.0.0.1:${await freePort()}`
    const noUrl = `redis//:${CANARIES.password}@127.0.0.1`
    const simple = [
      ['cancel', 'b'],
      ['job', 'a'],
      ['job', 'a', '--json'],
      ['replicas', '--json'],
    ]
    const more = [
      ['pool', 'show'],
      ['pool', 'list', '--json'],
      ['doctor'],
      ['doctor', '--json'],
      ['forget', 'g'],
    ]
    await inParallel([...simple, ...more], (args) => stage.run(args, { env }))
    await stage.run(['forget', 'g'], { env })
    await stage.run(['enqueue', '--file', file], { env })
    await stage.run(['enqueue', '--file', '-', '--json'], { env, stdin: `${lines.join('\n')}\n` })
    await stage.run(['enqueue', '-'], { env, stdin: huge })
    await stage.run(['generate', '-', '--max-new-tokens', '99999999'], { env, stdin })
    const without = [
      ['generate', '-'],
      ['doctor', '--json'],
      ['worker', '--replica', replica.url],
      ['gateway', '--port', '0'],
      ['metrics', '--port', '0'],
    ]
    const astray = [wrong, dead, noUrl].flatMap((redis) => without.map((args) => ({ redis, args })))
    await inParallel(astray, async ({ redis, args }) => {
      const { status } = await stage
        .run(args, { env: { ...env, REDIS_URL: redis }, stdin })
        .then((run) => run.over)
      expect(status, args.join(' ')).toBeGreaterThan(0)
    })
    await lab.redis.config('SET', 'maxmemory', '1')
    for (const args of [['enqueue', '-'], ['generate', '-', '--json'], ['doctor']])
      await stage.run(args, { env, stdin })
    await lab.redis.config('SET', 'maxmemory', '0')

    const said = await stage.said()
    const pieces = (await collect(client, 'a')).flatMap((event) =>
      event.event === 'end' ? piecesOf(event.data.text) : [],
    )
    expect(pieces.length).toBeGreaterThan(2)
    const { reason, ...rest } = CANARIES
    expect(whoSays(said, Object.values(rest))).toEqual([])
    const others = new Map([...said].filter(([who]) => !PRINTS_TEXT.test(`${who} `)))
    expect(whoSays(others, [...pieces, reason])).toEqual([])
  },
)
