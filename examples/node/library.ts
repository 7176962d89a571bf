/**
 * The library: enqueue, follow, leave, resume, cancel.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 TGI_POOL=p node examples/node/library.ts
 */
import { openPool, PoolError } from 'tgi-pool'
import type { JobEvent, Restart } from 'tgi-pool'

// Redis is at `REDIS_URL`, else at 127.0.0.1:6379.
const pool = await openPool({ pool: process.env['TGI_POOL'] ?? 'p' })

/** What a consumer holds of an answer: the text of each token, special ones empty. */
const tokens: string[] = []

/** Takes an event in. Events that follow after a resume may take tokens back. */
function take({ event, data }: JobEvent | Restart): void {
  if (event === 'token') tokens.push(data.special === true ? '' : data.t)
  else if (event === 'started') tokens.length = Math.min(tokens.length, data.next_token)
  else if (event === 'restart') tokens.length = 0
}

try {
  // The id makes it safe to enqueue again when no answer came: the same id with the same body is the same job.
  const { job_id: story } = await pool.enqueue(
    { inputs: 'Tell me a story', parameters: { max_new_tokens: 60 } },
    { jobId: `story-${crypto.randomUUID()}` },
  )

  // Leaving a loop is no cancel: the job runs on, and the last id is where to go on.
  let after: string | undefined
  for await (const event of pool.events(story)) {
    take(event)
    after = event.id
    if (tokens.length === 5) break
  }
  console.log(`left after ${tokens.length} tokens, at ${after}`)

  // From here or from any other process, at once or while the events are kept (an hour).
  for await (const event of pool.events(story, { after })) take(event)
  const { text } = await pool.result(story)
  console.log(
    `resumed: ${tokens.join('') === text ? 'nothing missing, nothing twice' : 'events are missing or repeated'}`,
  )
  console.log(text)

  // Where only the text counts, `text` does all of that.
  const { job_id: song } = await pool.enqueue({
    inputs: 'Sing me a song',
    parameters: { max_new_tokens: 500 },
  })
  for await (const piece of pool.text(song)) {
    console.log(`the song begins: ${piece}`)
    break
  }
  // When this has returned, no token will follow, and the replica's slot is free.
  await pool.cancel(song, { reason: 'heard enough' })
  await pool.result(song)
} catch (error) {
  // A job that ends in `error` throws it; `retriable` tells whether to try again.
  if (!(error instanceof PoolError)) throw error
  console.log(`${error.kind}: ${error.message} (retriable: ${error.retriable})`)
} finally {
  await pool.close()
}
