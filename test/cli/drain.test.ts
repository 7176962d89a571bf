import { describe } from 'vitest'
import type { ExpectStatic } from 'vitest'
import { createManualClock } from '../support/manual-clock.ts'
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'
import type { Stage } from './stage.ts'

const AS_TERMINAL = new URL('as-terminal.ts', import.meta.url)
const LAST_ONE = /^tgi-pool: warning: no other replica of pool \S+ is ready, so no worker takes its jobs\n$/

/** A replica whose one job goes on until somebody cancels it. */
async function busyReplica(
  stage: Stage,
  here: ExpectStatic,
): Promise<{ id: string; cancel: () => Promise<unknown> }> {
  const replica = await stage.serve({ clock: createManualClock(), tokensPerSecond: 50 })
  const client = await stage.client()
  await client.enqueue({ inputs: 'hello', parameters: { max_new_tokens: 4000 } }, { jobId: 'long' })
  await here.poll(() => replica.seen.open).toBe(1)
  return { id: `127.0.0.1-${replica.port}`, cancel: () => client.cancel('long') }
}

describe.concurrent('drain and undrain', () => {
  test('say what they did, and what was so already, and warn of a pool that nothing serves', async ({
    stage,
    expect: here,
  }) => {
    const replica = await stage.serve()
    const id = `127.0.0.1-${replica.port}`
    const drain = await stage.cli(['drain', id, '--grace-ms', '100'])
    here(drain).toEqual({
      status: 0,
      signal: undefined,
      stdout: `replica ${id} is draining\n`,
      stderr: here.stringMatching(LAST_ONE),
    })
    const client = await stage.client()
    await here.poll(() => client.replicas()).toMatchObject([{ state: 'draining' }])
    const { stdout: table } = await stage.cli(['replicas'])
    here(table).toMatch(/ draining +0\/0 .* drained on request; tgi-pool undrain \S+ brings it back\n/)
    const again = await stage.cli(['drain', id])
    here(again).toMatchObject({ status: 0, stdout: `replica ${id} was already draining\n` })
    const json = await stage.cli(['drain', id, '--json'])
    here(jsonLines(json.stdout)).toEqual([
      {
        replica_id: id,
        outcome: 'already_draining',
        since: here.any(Number),
        grace_ms: 100,
        ready_replicas: 0,
      },
    ])
    const undrain = await stage.cli(['undrain', id])
    here(undrain).toMatchObject({ status: 0, stdout: `replica ${id} takes jobs again\n`, stderr: '' })
    await here.poll(() => client.replicas()).toMatchObject([{ state: 'ready' }])
    const none = await stage.cli(['undrain', id, '--json'])
    here(jsonLines(none.stdout)).toEqual([{ replica_id: id, outcome: 'was_not_draining' }])
  })

  test('of one of two warn of nothing', async ({ stage, expect: here }) => {
    const replica = await stage.serve()
    await stage.worker(await stage.replica())
    const client = await stage.client()
    await here
      .poll(async () => (await client.replicas()).map(({ state }) => state))
      .toEqual(['ready', 'ready'])
    const drain = await stage.cli(['drain', `127.0.0.1-${replica.port}`])
    here(drain).toMatchObject({ status: 0, stderr: '' })
  })

  test('of a replica that is not there say in one line which are, exit 1', async ({
    stage,
    expect: here,
  }) => {
    const replica = await stage.serve()
    const message = `no replica gpu-7 in pool ${stage.pool} (there are: 127.0.0.1-${replica.port})`
    for (const verb of ['drain', 'undrain']) {
      here(await stage.cli([verb, 'gpu-7'])).toMatchObject({
        status: 1,
        stdout: '',
        stderr: `tgi-pool: UNKNOWN_REPLICA: ${message}\n`,
      })
    }
  })

  test('refuse a grace time that is none', async ({ stage, expect: here }) => {
    for (const grace of ['-1', '1.5', 'soon', '2147483648']) {
      const { status, stderr } = await stage.cli(['drain', 'gpu-0', '--grace-ms', grace])
      here([status, stderr]).toEqual([2, here.stringContaining('Expected a whole number from 0 to')])
    }
  })
})

describe.concurrent('drain --wait', () => {
  test('ends when nothing runs on the replica any more', async ({ stage, expect: here }) => {
    const { id, cancel } = await busyReplica(stage, here)
    const drain = stage.start(['drain', id, '--wait', '--grace-ms', '600000'])
    const client = await stage.client()
    await here.poll(() => client.replicas()).toMatchObject([{ state: 'draining', busy: 1 }])
    here(drain.isOver).toBe(false)
    await cancel()
    here(await drain.over).toMatchObject({
      status: 0,
      stdout: `replica ${id} is drained: no job runs on it\n`,
      stderr: here.stringMatching(LAST_ONE),
    })
    here(await client.replicas()).toMatchObject([{ state: 'draining', busy: 0 }])
  })

  test('says on a terminal what it waits for', async ({ stage, expect: here }) => {
    const { id, cancel } = await busyReplica(stage, here)
    const drain = stage.start(['drain', id, '--wait', '--grace-ms', '600000'], { preload: AS_TERMINAL })
    await drain.printed(`draining replica ${id}, jobs still running: 1 (`, 'stderr')
    await cancel()
    here(await drain.over).toMatchObject({ status: 0 })
  })

  test('leaves the replica draining on Ctrl-C, says so, and exits with 130', async ({
    stage,
    expect: here,
  }) => {
    const { id, cancel } = await busyReplica(stage, here)
    const drain = stage.start(['drain', id, '--wait', '--grace-ms', '600000'])
    const client = await stage.client()
    await here.poll(() => client.replicas()).toMatchObject([{ state: 'draining', busy: 1 }])
    await drain.printed('so no worker takes its jobs', 'stderr')
    drain.interruptTwice()
    const { status, stdout, stderr } = await drain.over
    here([status, stdout]).toEqual([130, ''])
    here(stderr).toContain(`tgi-pool: replica ${id} stays drained; tgi-pool undrain ${id} brings it back\n`)
    here(await client.drain(id)).toMatchObject({ outcome: 'already_draining', grace_ms: 600_000 })
    here(await client.replicas()).toMatchObject([{ state: 'draining', busy: 1 }])
    await cancel()
  })

  test('exits with 130 whenever the second one of a doubled Ctrl-C comes', async ({
    stage,
    expect: here,
  }) => {
    const { id, cancel } = await busyReplica(stage, here)
    const statuses = await Promise.all(
      [1, 3, 5, 8, 12, 16, 20, 30].map(async (gapMs) => {
        const drain = stage.start(['drain', id, '--wait', '--grace-ms', '600000'])
        await drain.printed('so no worker takes its jobs', 'stderr')
        drain.interruptTwice(gapMs)
        const { status, signal } = await drain.over
        return status ?? signal
      }),
    )
    here(statuses).toEqual(statuses.map(() => 130))
    await cancel()
  })

  test('fails if the replica is undrained in the meantime', async ({ stage, expect: here }) => {
    const { id, cancel } = await busyReplica(stage, here)
    const drain = stage.start(['drain', id, '--wait', '--grace-ms', '600000'], { preload: AS_TERMINAL })
    // It has seen it drain.
    await drain.printed('jobs still running: 1 (', 'stderr')
    here(await stage.cli(['undrain', id])).toMatchObject({ status: 0 })
    const { status, stderr } = await drain.over
    here([status, stderr]).toEqual([1, here.stringContaining(`replica ${id} was undrained in the meantime`)])
    await cancel()
  })

  test('has nothing to wait for when the worker is gone', async ({ stage, expect: here }) => {
    const client = await stage.client()
    const worker = await stage.worker(await stage.replica())
    await client.drain(worker.replicaId)
    await worker.stop()
    const drain = await stage.cli(['drain', worker.replicaId, '--wait'])
    here(drain).toMatchObject({
      status: 0,
      stdout: `replica ${worker.replicaId} is drained: no job runs on it\n`,
    })
  })
})
