import { expect } from 'vitest'
import type { Stage } from '../cli/stage.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import { connectToServer } from '../../src/redis/connect.ts'

/** The id of the one job that a stage's pool has ever had, beside another. */
export async function onlyJob({ pool, redisUrl }: Stage, beside?: string): Promise<string> {
  const redis = await connectToServer(redisUrl, { role: 'commands' })
  try {
    const prefix = poolKeys(pool).events('')
    const ids = (await redis.keys(`${prefix}*`)).map((key) => key.slice(prefix.length))
    const others = ids.filter((id) => id !== beside)
    expect(others).toHaveLength(1)
    return others[0] ?? ''
  } finally {
    redis.disconnect()
  }
}

/** The answer of that job, as its replica gave it. */
export async function textOfOnlyJob(stage: Stage): Promise<string> {
  const client = await stage.client()
  return (await client.result(await onlyJob(stage))).text
}
