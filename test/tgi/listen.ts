import { onTestFinished } from 'vitest'

import type { GenerationEnd, TgiToken } from '../../src/tgi/answer.ts'
import type { TgiClient, TgiClientOptions } from '../../src/tgi/client.ts'
import { createTgiClient } from '../../src/tgi/client.ts'
import { TgiError } from '../../src/tgi/error.ts'
import type { GenerateOptions, GenerateRequest, Generation } from '../../src/tgi/generate.ts'

/** A prompt that no message may ever repeat. */
export const PROMPT = 'the secret prompt of nobody else'

/** A client that is closed when the test is over. */
export function clientOf(url: string, options: Omit<TgiClientOptions, 'url'> = {}): TgiClient {
  const client = createTgiClient({ url, ...options })
  onTestFinished(() => client.close())
  return client
}

/** A generation with what it told so far. */
export interface Heard extends Generation {
  readonly tokens: TgiToken[]
  readonly abort: AbortController
  /** The kind of the error that ended it; throws when it ended well. */
  readonly failure: () => Promise<TgiError>
}

/** Generates with limits that no test meets by accident. */
export function generate(
  client: TgiClient,
  request: Partial<GenerateRequest> = {},
  options: Partial<GenerateOptions> = {},
): Heard {
  const tokens: TgiToken[] = []
  const abort = new AbortController()
  const generation = client.generate(
    { inputs: PROMPT, parameters: {}, seed: 1, maxNewTokens: 512, ...request },
    {
      signal: abort.signal,
      onToken: (token) => tokens.push(token),
      firstTokenTimeoutMs: 10_000,
      tokenTimeoutMs: 10_000,
      ...options,
    },
  )
  // Each test awaits `done` in its own time.
  generation.done.catch(() => {})
  return { ...generation, tokens, abort, failure: () => failureOf(generation.done) }
}

/** The TgiError that a promise rejects with, with the promises that hold for every one of them. */
export async function failureOf(promise: Promise<unknown>): Promise<TgiError> {
  const error = await promise.then(
    (value) => new Error(`expected an error, got ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  )
  if (!(error instanceof TgiError)) throw error
  if (error.message.length > 300) throw new Error(`a message of ${error.message.length} characters`)
  if (/[\p{Cc}\p{Zl}]/u.test(error.message)) throw new Error('a message with control characters')
  if (error.message.includes(PROMPT)) throw new Error('a message with the prompt')
  return error
}

/** The texts of tokens. */
export function textsOf(tokens: readonly TgiToken[]): string[] {
  return tokens.map((token) => token.text)
}

/** What came of a generation, for comparing whole. */
export interface Outcome {
  readonly end: GenerationEnd
  readonly tokens: readonly TgiToken[]
}

/** Waits for the end of a generation. */
export async function outcomeOf(heard: Heard): Promise<Outcome> {
  return { end: await heard.done, tokens: heard.tokens }
}
