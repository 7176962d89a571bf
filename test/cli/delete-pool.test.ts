import { describe, expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'
import type { Stage } from './stage.ts'

const PERSON = new URL('stdin-as-terminal.ts', import.meta.url)

async function isThere(client: PoolClient): Promise<boolean> {
  return client.config().then(
    () => true,
    () => false,
  )
}

/** Keys of the pool beside the mark. */
async function keysOf(stage: Stage): Promise<string[]> {
  const redis = await connectToServer(stage.redisUrl, { role: 'commands' })
  try {
    const keys = poolKeys(stage.pool)
    return (await redis.keys(`${keys.queuePrefix}:*`)).filter((key) => key !== keys.config)
  } finally {
    redis.disconnect()
  }
}

describe.concurrent('pool delete', () => {
  test('deletes a pool without unfinished jobs, by either way to name it', async ({ stage }) => {
    const client = await stage.client()
    await client.enqueue({ inputs: 'x' }, { jobId: 'j' })
    await client.cancel('j')
    const env = { TGI_POOL: '' }
    expect(await stage.cli(['pool', 'delete', stage.pool], { env })).toEqual({
      status: 0,
      signal: undefined,
      stdout: `pool ${stage.pool} deleted\n`,
      stderr: '',
    })
    expect(await keysOf(stage)).toEqual([])
    await client.create()
    const json = await stage.cli(['pool', 'delete', '--pool', stage.pool, '--json'], { env })
    expect(jsonLines(json.stdout)).toEqual([{ pool_id: stage.pool, outcome: 'deleted' }])
    const [list, none, wrong, unknown] = await Promise.all([
      stage.cli(['pool', 'list']),
      stage.cli(['pool', 'delete'], { env }),
      stage.cli(['pool', 'delete', 'a', '--pool', 'b'], { env }),
      stage.cli(['pool', 'delete', 'never-made'], { env }),
    ])
    expect(list.stdout.split('\n')).not.toContain(stage.pool)
    expect(none).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('expected the name of a pool, got none'),
    })
    expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining('got a and --pool b') })
    expect(unknown).toMatchObject({ status: 1, stderr: expect.stringContaining('no pool "never-made"') })
  })

  test('needs --yes where jobs are unfinished and nobody can be asked', async ({ stage }) => {
    const client = await stage.client()
    await client.enqueue({ inputs: 'x' }, { jobId: 'j' })
    const refused = await stage.cli(['pool', 'delete', stage.pool])
    expect(refused).toMatchObject({
      status: 2,
      stdout: '',
      stderr: `tgi-pool: INVALID_PARAMS: pool ${stage.pool} has 1 job queued or running; add --yes to delete it\n`,
    })
    expect(await client.job('j')).toMatchObject({ state: 'queued' })
    const reading = stage.start(['events', 'j'])
    await reading.printed('queued')
    expect(await stage.cli(['pool', 'delete', stage.pool, '--yes'])).toMatchObject({ status: 0, stderr: '' })
    // The end of the job as a rule; if it was not read in time, that its events are gone.
    const { status, stdout, stderr } = await reading.over
    expect([1, 3]).toContain(status)
    expect(stdout + stderr).toMatch(/CANCELLED.*the pool was deleted|GONE/)
    expect(await stage.cli(['enqueue', 'x'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('was deleted'),
    })
  })

  test('asks for the name on a terminal, and does nothing for another one', async ({ stage }) => {
    const client = await stage.client()
    await client.enqueue({ inputs: 'x' })
    const args = ['pool', 'delete', stage.pool]
    for (const stdin of ['y\n', '', `${stage.pool}x\n`]) {
      const { status, stdout, stderr } = await stage.cli(args, { preload: PERSON, stdin })
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
      expect(stderr).toContain(`pool ${stage.pool} has 1 job queued or running`)
      expect(stderr).toContain('nothing was deleted')
    }
    expect(await isThere(client)).toBe(true)
    const asked = stage.cli(args, { preload: PERSON, stdin: `${stage.pool}\n` })
    expect(await asked).toMatchObject({ status: 0, stdout: `pool ${stage.pool} deleted\n` })
    expect(await isThere(client)).toBe(false)
  })

  test('is refused while a worker serves the pool; --force needs the name and stops the worker', async ({
    stage,
    expect: here,
  }) => {
    const client = await stage.client()
    const replica = await stage.replica({ clock: createManualClock(), tokensPerSecond: 50 })
    const worker = stage.start(['worker', '--replica', replica.url, '--replica-id', 'gpu-0'])
    await worker.printed('replica is ready', 'stderr')
    await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 1000 } }, { jobId: 'j' })
    await here.poll(() => replica.seen.open).toBe(1)
    const [plain, yes, force, other] = await Promise.all([
      stage.cli(['pool', 'delete', stage.pool, '--json']),
      stage.cli(['pool', 'delete', stage.pool, '--yes']),
      stage.cli(['pool', 'delete', stage.pool, '--force', '--yes']),
      stage.cli(['pool', 'delete', stage.pool, '--force', '--confirm', 'other']),
    ])
    for (const { stderr } of [plain, yes]) {
      expect(stderr).toContain('workers hold replica gpu-0')
      expect(stderr).toContain(`tgi-pool drain gpu-0 --wait --pool ${stage.pool}`)
    }
    expect([plain.status, yes.status, force.status, other.status]).toEqual([1, 1, 2, 2])
    expect(jsonLines(plain.stderr)).toMatchObject([{ error: { code: 'POOL_IN_USE' } }])
    expect(force.stderr).toContain(
      `has 1 job queued or running and workers on replica gpu-0; add --confirm ${stage.pool} to delete it`,
    )
    expect(other.stderr).toContain(`--confirm: expected ${stage.pool}, got "other"`)
    expect([await isThere(client), replica.seen.open]).toEqual([true, 1])
    const done = await stage.cli(['pool', 'delete', stage.pool, '--force', '--confirm', stage.pool])
    expect(done).toMatchObject({ status: 0, stderr: '' })
    const { status, stderr } = await worker.over
    expect(status).toBe(1)
    expect(stderr).toContain('pool was deleted; stopping')
    expect(stderr.trimEnd().split('\n').at(-1)).toBe(
      `tgi-pool: POOL_UNAVAILABLE: pool "${stage.pool}" was deleted`,
    )
    await here.poll(() => replica.seen.open).toBe(0)
    expect(await keysOf(stage)).toEqual([])
    const again = await stage.cli(['worker', '--replica', replica.url])
    expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('was deleted') })
  })

  test('that is killed leaves the pool closed and listed, and the same command goes on', async ({
    stage,
    expect: here,
  }) => {
    const client = await stage.client()
    await client.enqueue({ inputs: 'x' }, { jobId: 'j' })
    const keys = poolKeys(stage.pool)
    const redis = await connectToServer(stage.redisUrl, { role: 'commands' })
    stage.afterwards(() => redis.disconnect())
    // A worker that does not let go.
    await redis.hset(keys.replicas, 'old', '{}')
    await redis.set(keys.lease('old'), 'its-worker')
    const args = ['pool', 'delete', stage.pool, '--force', '--confirm', stage.pool]
    const interrupted = stage.start(args)
    await here.poll(() => redis.zcard(keys.index('cancelled'))).toBe(1)
    interrupted.kill('SIGINT')
    expect(await interrupted.over).toMatchObject({
      status: 130,
      stderr: `tgi-pool: pool ${stage.pool} is closed but not fully deleted; run the same command again to resume\n`,
    })
    const killed = stage.start(args)
    await here.poll(() => redis.client('LIST')).toMatch(/cmd=(hkeys|exists)/)
    killed.kill('SIGKILL')
    await killed.over
    const [list, create] = await Promise.all([stage.cli(['pool', 'list']), stage.cli(['pool', 'create'])])
    expect(list.stdout.split('\n')).toContain(stage.pool)
    expect(list.stderr).toContain(`tgi-pool pool delete ${stage.pool}`)
    expect(create).toMatchObject({ status: 1, stderr: expect.stringContaining('is being deleted') })
    await redis.del(keys.lease('old'))
    expect(await stage.cli(['pool', 'delete', stage.pool])).toMatchObject({ status: 0, stderr: '' })
    expect(await keysOf(stage)).toEqual([])
  })
})
