import { describe, expect, test as pure } from 'vitest'
import { forecast } from '../../src/client/start-forecast.ts'
import type { Priority } from '../../src/contract/job.ts'
import type { ReplicaEntry } from '../../src/contract/replica-entry.ts'
import { test } from '../support/lab.ts'

const IDLE: ReplicaEntry['state'][] = ['lost', 'standby', 'draining', 'unhealthy', 'drifted']

function replica(slots: number, busy: number, jobMs?: number): ReplicaEntry {
  return {
    replica_id: 'r',
    worker_id: 'w',
    url: 'http://r',
    state: 'ready',
    versions: null,
    slots,
    slots_configured: slots,
    busy,
    ...(jobMs === undefined ? {} : { job_ms: jobMs, job_count: 7 }),
    capabilities: [],
    updated_at: 0,
  }
}

describe('the forecast of a start', () => {
  pure.for<[string, ReplicaEntry[], number, number | undefined]>([
    ['is now while a slot is free', [replica(4, 3)], 0, 0],
    ['is unknown when nobody serves', [], 0, undefined],
    ['is unknown when no slot is open', [replica(0, 0, 100)], 0, undefined],
    ['is unknown until a job has ended', [replica(2, 2)], 0, undefined],
    ['is one job through all slots', [replica(4, 4, 1000)], 0, 250],
    ['grows with the jobs ahead', [replica(4, 4, 1000)], 7, 2000],
    ['counts free slots first', [replica(4, 2, 1000)], 2, 250],
    ['adds the pace of all replicas', [replica(1, 1, 1000), replica(1, 1, 500)], 2, 1000],
  ])('%s', ([, replicas, position, expected]) => {
    const question = { position, priority: 'interactive', config: { reserved_slots: null } } as const
    expect(forecast(replicas, question)?.startMs).toBe(expected)
  })

  pure('leaves out replicas that take nothing, whatever their last word was', () => {
    const idle = IDLE.map((state) => ({ ...replica(8, 0, 10), state }))
    const question = { position: 3, priority: 'interactive', config: { reserved_slots: null } } as const
    expect(forecast(idle, question)).toBe(undefined)
    expect(forecast([...idle, replica(1, 1, 1000)], question)).toEqual({ startMs: 4000, jobCount: 7 })
  })

  pure('knows on how many jobs it rests', () => {
    const question = { position: 9, priority: 'interactive', config: { reserved_slots: null } } as const
    expect(forecast([replica(1, 1, 1000), replica(1, 1, 1000)], question)?.jobCount).toBe(14)
  })

  pure.for<[Priority, number | null, number, number]>([
    ['interactive', null, 4, 250],
    ['batch', null, 4, 333],
    ['batch', 0, 4, 250],
    ['batch', 2, 4, 500],
    ['batch', null, 2, 500],
    // One slot is left to batch jobs whatever is reserved.
    ['batch', 9, 4, 1000],
  ])(
    'of a %s job counts the slots that it may have: %s reserved of %s',
    ([priority, reserved, slots, ms]) => {
      const question = { position: 0, priority, config: { reserved_slots: reserved } }
      expect(forecast([replica(slots, slots, 1000)], question)?.startMs).toBe(ms)
    },
  )

  test('comes with the admission and stands in the queued event', async ({ lab }) => {
    const client = await lab.client()
    expect(await client.enqueue({ inputs: 'a' })).not.toHaveProperty('predicted_start_ms')
    await lab.worker(await lab.replica({ tokensPerSecond: 100 }), { slots: 1 })
    const job = { inputs: 'b', parameters: { max_new_tokens: 10 } }
    await client.result((await client.enqueue(job)).job_id)
    await expect.poll(async () => (await client.replicas())[0]?.job_ms).toBeGreaterThan(50)
    // What the registry said is believed for a second.
    await expect
      .poll(async () => (await client.enqueue(job)).predicted_start_ms, { interval: 300 })
      .toBeGreaterThan(50)
    const admission = await client.enqueue(job)
    for await (const event of client.events(admission.job_id)) {
      expect(event).toMatchObject({
        event: 'queued',
        data: { predicted_start_ms: admission.predicted_start_ms },
      })
      break
    }
  })
})
