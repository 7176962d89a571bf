import { describe, expect, onTestFinished } from 'vitest'
import { startCli } from '../cli/run-cli.ts'
import type { CliRun } from '../cli/run-cli.ts'
import { readLog } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import { openEvents } from './sse-client.ts'
import type { EventAnswer } from './sse-client.ts'
import { test } from './stage.ts'

const JOBS = 10
const READERS = 500

/** A gateway as it is run, and its address. */
async function startProcess(redisUrl: string): Promise<{ run: CliRun; url: string }> {
  const run = startCli(['gateway', '--port', '0'], { env: { REDIS_URL: redisUrl } })
  onTestFinished(async () => {
    run.kill('SIGKILL')
    await run.over
  })
  await run.printed('gateway started', 'stderr')
  return { run, url: /"url":"([^"]+)"/.exec(run.stderr)?.[1] ?? '' }
}

async function allHave(answers: readonly EventAnswer[], count: number): Promise<void> {
  await expect.poll(() => answers.every(({ events }) => events.length >= count)).toBe(true)
}

describe('a gateway that is killed', () => {
  test(
    'costs its 500 readers nothing: each goes on at another one, without hole or repeat',
    {
      timeout: 120_000,
    },
    async ({ lab }) => {
      const client = await lab.client()
      await lab.worker(await lab.replica({ tokensPerSecond: 4 }), { slots: JOBS })
      const [doomed, other] = await Promise.all([startProcess(lab.redisUrl), startProcess(lab.redisUrl)])
      const ids = await Promise.all(
        Array.from({ length: JOBS }, async () => {
          const { job_id: id } = await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 10_000 } })
          return id
        }),
      )
      const readers = Array.from({ length: READERS }, (_, n) => ids[n % JOBS] ?? '')
      const first = await Promise.all(
        readers.map((id) => openEvents(`${doomed.url}/v1/jobs/${id}/events?pool=${POOL}`)),
      )
      await allHave(first, 4)
      doomed.run.kill('SIGKILL')
      expect(await Promise.all(first.map(({ ended }) => ended))).not.toContain(true)
      const rest = await Promise.all(
        first.map(({ events }, n) => {
          const headers = { 'Last-Event-ID': events.at(-1)?.id ?? '' }
          return openEvents(`${other.url}/v1/jobs/${readers[n]}/events`, headers)
        }),
      )
      await allHave(rest, 2)
      // The jobs are as long as the machine is slow; what came is compared as soon as there is enough of it.
      await Promise.all(ids.map((id) => client.cancel(id)))
      expect(await Promise.all(rest.map(({ ended }) => ended))).not.toContain(false)
      for (const id of ids) {
        const log = await readLog(lab.redis, KEYS, id)
        expect(log.at(-1)?.event).toBe('error')
        for (const [n, reader] of readers.entries()) {
          if (reader !== id) continue
          const seen = [...(first[n]?.events ?? []), ...(rest[n]?.events ?? [])]
          expect(seen.map((event) => event.id)).toEqual(log.map((event) => event.id))
        }
      }
      other.run.kill('SIGTERM')
      expect((await other.run.over).status).toBe(0)
    },
  )
})
