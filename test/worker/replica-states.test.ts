import { describe, expect } from 'vitest'
import { collect, endOf, tokensIn } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'

describe('a replica that is not ready', () => {
  test('takes nothing while it is unhealthy, says so, and goes on when it is well', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    replica.setHealthy(false)
    const worker = await lab.worker(replica, { probeMs: 30 })
    await expect
      .poll(() => client.replicas())
      .toMatchObject([{ state: 'unhealthy', slots: 0, reason: expect.stringContaining('not healthy') }])
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait', parameters: { max_new_tokens: 3 } })
    expect(await client.waiting()).toMatchObject({ interactive: 1 })
    replica.setHealthy(true)
    endOf(await collect(client, jobId))
    expect(worker.state).toBe('ready')
    replica.setHealthy(false)
    await expect.poll(() => worker.state).toBe('unhealthy')
    const probes = replica.seen.requests.length
    const late = await client.enqueue({ inputs: 'Wait again', parameters: { max_new_tokens: 3 } })
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'unhealthy' }])
    expect(replica.seen.requests.length).toBe(probes)
    replica.setHealthy(true)
    endOf(await collect(client, late.job_id))
  })

  test('lets running jobs finish when it turns unhealthy', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 100 })
    const worker = await lab.worker(replica, { probeMs: 30 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Go', parameters: { max_new_tokens: 50 } })
    await tokensIn(lab.redis, KEYS, jobId)
    replica.setHealthy(false)
    await expect.poll(() => worker.state).toBe('unhealthy')
    clock.run()
    expect(endOf(await collect(client, jobId)).attempts).toBe(1)
  })

  test('takes nothing when it is not what the pool is pinned to, and goes on when it is again', async ({
    lab,
  }) => {
    const client = await lab.client({ pin: { engine_version: '3.3.6-dev0+sim' } })
    const replica = await lab.replica()
    const worker = await lab.worker(replica, { probeMs: 30 })
    await expect.poll(() => worker.state).toBe('ready')
    replica.setInfo({ docker_label: 'other' })
    await expect
      .poll(() => client.replicas())
      .toMatchObject([
        {
          state: 'drifted',
          slots: 0,
          versions: { engine_version: '3.3.6-dev0+other' },
          reason: expect.stringContaining('3.3.6-dev0+other'),
        },
      ])
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait', parameters: { max_new_tokens: 3 } })
    // A worker that was waiting for a job when it shut takes that one and puts it back.
    await expect.poll(() => client.waiting()).toMatchObject({ interactive: 1 })
    expect(replica.seen.requests).toEqual([])
    replica.setInfo({ docker_label: 'sim' })
    endOf(await collect(client, jobId))
  })

  test('with a model that is not the pinned one drifts as well', async ({ lab }) => {
    const client = await lab.client({ pin: { model_id: 'right/model' } })
    const wrong = await lab.replica({ modelId: 'wrong/model' })
    const right = await lab.replica({ modelId: 'right/model' })
    const worker = await lab.worker(wrong)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Which?', parameters: { max_new_tokens: 3 } })
    await expect.poll(() => worker.state).toBe('drifted')
    await lab.worker(right)
    endOf(await collect(client, jobId))
    expect(wrong.seen.requests).toEqual([])
  })

  test('is told from one that is not there yet by its reason only, and waited for', async ({ lab }) => {
    const client = await lab.client()
    const gone = await lab.replica()
    const { port } = gone
    await gone.stop()
    await lab.worker(gone, { probeMs: 30 })
    await expect
      .poll(() => client.replicas())
      .toMatchObject([
        { state: 'unhealthy', versions: null, reason: expect.stringContaining('ECONNREFUSED') },
      ])
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait', parameters: { max_new_tokens: 3 } })
    await lab.replica({ port })
    endOf(await collect(client, jobId))
  })
})
