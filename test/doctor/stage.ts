import { expect, onTestFinished } from 'vitest'
import { examine } from '../../src/doctor/doctor.ts'
import type { CheckName, Finding } from '../../src/doctor/finding.ts'
import type { Report } from '../../src/doctor/report.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import type { RedisServer } from '../../src/redis/server.ts'
import type { Redis } from 'ioredis'

/** A Redis of the test's own with further settings; gone when the test is over. */
export async function ownServer(...args: readonly string[]): Promise<{ server: RedisServer; redis: Redis }> {
  const server = await startRedisServer({ args })
  onTestFinished(() => server.stop())
  const redis = await connectToServer(server.url, { role: 'commands' })
  onTestFinished(() => redis.disconnect())
  return { server, redis }
}

/** The one finding of a check, on a subject if that is named. */
export function found(report: Report, check: CheckName, subject?: string): Finding {
  const all = report.findings.filter(
    (finding) => finding.check === check && (subject === undefined || finding.subject === subject),
  )
  expect(all, `${check} in ${JSON.stringify(report.findings)}`).toHaveLength(1)
  const [finding] = all
  if (finding === undefined) throw new Error(`no finding ${check}`)
  return finding
}

/** Everything that is not well, as `status check subject`, but for what a slow machine adds: PING takes its time. */
export function complaints(report: Report): string[] {
  return report.findings
    .filter(({ check, status }) => status !== 'ok' && check !== 'redis-latency')
    .map(({ status, check, subject }) => `${status} ${check} ${subject}`)
    .toSorted()
}

/** Looks at a Redis until something is so: workers tell how they are on a beat. */
export async function until(redisUrl: string, check: (report: Report) => void): Promise<Report> {
  let last: Report | undefined
  await expect
    .poll(async () => {
      last = await examine({ redisUrl })
      try {
        check(last)
        return 'so'
      } catch (error) {
        return String(error)
      }
    })
    .toBe('so')
  if (last === undefined) throw new Error('not looked')
  return last
}
