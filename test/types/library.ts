/** What the library's types promise. Compiled by `npm run types`, never run. */
import { expectTypeOf } from 'vitest'
import { PoolError, formatSse, openPool, openPools, toSse } from '../../src/index.ts'
import type {
  Admission,
  ErrorKind,
  JobEvent,
  JobFields,
  JobInput,
  JobResult,
  JobState,
  PoolClient,
  Restart,
} from '../../src/index.ts'

const pool = await openPool({ redisUrl: 'redis://127.0.0.1', pool: 'p' })
expectTypeOf(pool).toEqualTypeOf<PoolClient>()

expectTypeOf(pool.enqueue({ inputs: 'x' })).resolves.toEqualTypeOf<Admission>()
expectTypeOf(pool.result('j')).resolves.toEqualTypeOf<JobResult>()
expectTypeOf(pool.job('j')).resolves.toEqualTypeOf<JobState>()
expectTypeOf(pool.text('j')).toExtend<AsyncIterable<string>>()

for await (const event of pool.events('j', { after: '0-1', signal: AbortSignal.timeout(1) })) {
  expectTypeOf(event).toEqualTypeOf<JobEvent | Restart>()
  // The name tells which data it is.
  if (event.event === 'token') expectTypeOf(event.data.t).toEqualTypeOf<string>()
  if (event.event === 'end')
    expectTypeOf(event.data.finish_reason).toEqualTypeOf<'length' | 'eos_token' | 'stop_sequence'>()
  if (event.event === 'restart') expectTypeOf(event.data.reason).toEqualTypeOf<'cursor_missing' | 'misfit'>()
  // @ts-expect-error Not every event has a text.
  void event.data.t
  expectTypeOf(formatSse(event)).toEqualTypeOf<string>()
}

void pool.enqueue({ messages: [{ role: 'user', content: 'x' }], parameters: { max_new_tokens: 5 } })
// @ts-expect-error A job needs inputs or messages.
void pool.enqueue({})
// @ts-expect-error And only one of the two.
void pool.enqueue({ inputs: 'x', messages: [{ role: 'user', content: 'x' }] })
// @ts-expect-error A prompt is text.
void pool.enqueue({ inputs: 7 })
// @ts-expect-error Parameters have TGI's names.
void pool.enqueue({ inputs: 'x', parameters: { max_tokens: 5 } })
// @ts-expect-error What is not supported yet is said.
void pool.enqueue({ inputs: 'x', tools: [] })
// @ts-expect-error Names are the contract's.
void pool.enqueue({ prompt: 'x' })
// @ts-expect-error Priorities are two.
void pool.enqueue({ inputs: 'x', priority: 'urgent' })
// @ts-expect-error The pool must be named.
void openPool({ redisUrl: 'redis://127.0.0.1' })
// @ts-expect-error What an option takes is said.
void pool.cancel('j', { because: 'x' })

// A job can be built up in steps.
declare const isUrgent: boolean
const usual: JobFields = { parameters: { max_new_tokens: 5, stop: ['\n'] }, correlation_id: 'c' }
const first: JobInput = { ...usual, inputs: 'x' }
const second: JobInput = { ...first, priority: isUrgent ? 'interactive' : 'batch' }
second.deadline_ms = 5000
void pool.enqueue({ ...second, parameters: { ...second.parameters, seed: 1 } })
const chat: JobInput = { ...usual, messages: [] }
chat.messages.push({ role: 'user', content: [{ type: 'text', text: 'x' }] })
void pool.enqueue(isUrgent ? first : chat)
// @ts-expect-error A prompt does not become a chat by adding messages.
void pool.enqueue({ ...first, messages: [{ role: 'user', content: 'x' }] })

expectTypeOf((await openPools({ redisUrl: 'x' })).pool('p')).toEqualTypeOf<PoolClient>()
expectTypeOf(new PoolError('GONE', 'x').kind).toEqualTypeOf<ErrorKind>()
expectTypeOf(new Response(toSse(pool.events('j')))).toEqualTypeOf<Response>()
