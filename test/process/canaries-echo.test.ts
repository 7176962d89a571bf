import { expect, test } from 'vitest'
import { collect, errorOf } from '../support/job-log.ts'
import { serveHttp, startStream } from '../tgi/scripted-server.ts'
import { CANARY, LIMIT_MS, POOL, PROMPT, START_MS, canaryStage, whoSays } from './canaries-stage.ts'

/** A replica that repeats what it was sent in each of its errors; `/info` and `/health` are TGI's. */
async function echoing(how: 'text' | 'json' | 'stream' | 'page'): Promise<{ url: string }> {
  return serveHttp((response, { path, body }) => {
    const answer = (status: number, type: string, text: string) =>
      void response.writeHead(status, { 'content-type': type }).end(text)
    const { inputs = '' } = (body === '' ? {} : JSON.parse(body)) as { inputs?: string }
    if (path === '/health') return answer(200, 'text/plain', '')
    if (path === '/info')
      return answer(
        200,
        'application/json',
        JSON.stringify({ model_id: 'm', version: '3.3.7', max_total_tokens: 4096 }),
      )
    if (path === '/tokenize') return answer(200, 'application/json', '[]')
    const error = JSON.stringify({ error: `bad prompt: ${inputs}`, error_type: 'validation' })
    if (how === 'text') return answer(400, 'text/plain', `cannot read ${inputs}`)
    if (how === 'page') return answer(400, 'text/html', `<p>cannot read ${inputs}</p>`)
    if (how === 'json') return answer(422, 'application/json', error)
    return void startStream(response).end(`data: ${error}\n\n`)
  })
}

/** Runs a prompt on such a replica, and says who repeats it. */
async function repeaters(how: 'text' | 'json' | 'stream' | 'page'): Promise<string[]> {
  const stage = await canaryStage()
  const client = await stage.lab.client({}, POOL)
  const { url } = await echoing(how)
  stage.start(['worker', '--pool', POOL, '--replica', url, '--grace-ms', '0', '--log-level', 'trace'])
  await expect.poll(() => client.replicas(), { timeout: START_MS }).toMatchObject([{ state: 'ready' }])
  const { job_id: jobId } = await client.enqueue({ inputs: PROMPT })
  const error = errorOf(await collect(client, jobId))
  expect(error.code).toBe('INVALID_PARAMS')
  stage.note('error event', JSON.stringify(error))
  await stage.end()
  return whoSays(await stage.said(), [CANARY])
}

test(
  'a replica that repeats the prompt on a page for people is not quoted',
  { timeout: LIMIT_MS },
  async () => {
    expect(await repeaters('page')).toEqual([])
  },
)

test.for(['text', 'json', 'stream'] as const)(
  'a replica that repeats the prompt in an error as %s is not quoted',
  { timeout: LIMIT_MS },
  async (how) => {
    expect(await repeaters(how)).toEqual([])
  },
)
