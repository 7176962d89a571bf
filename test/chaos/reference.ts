import { seedOf } from '../../src/contract/ids.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import type { Seam } from './check-resumes.ts'
import type { Undisturbed } from './evidence.ts'
import type { TrackedJob } from './tracked-job.ts'

/** Generates what jobs would have been answered if nothing had happened to them. */
export interface ReferenceReplica {
  /** The whole answer, or what follows a seam. */
  generate(job: Pick<TrackedJob, 'jobId' | 'body'>, after?: Seam): Promise<Undisturbed>
  stop(): Promise<void>
}

interface SyncAnswer {
  readonly generated_text: string
  readonly details: { readonly tokens: readonly { id: number; text: string; special: boolean }[] }
}

/** A fresh simulator that is asked directly: no queue, no worker, no stream between. */
export async function startReferenceReplica(): Promise<ReferenceReplica> {
  const simulator = await startSimulator({ tokensPerSecond: 0, prefillMs: 0 })

  async function post<T>(path: string, body: unknown): Promise<T> {
    const response = await fetch(`${simulator.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`reference ${path}: ${response.status} ${await response.text()}`)
    return (await response.json()) as T
  }

  return {
    async generate({ jobId, body }, after) {
      const { inputs, messages, parameters = {} } = body
      const most = parameters.max_new_tokens ?? undefined
      const budget = most === undefined ? undefined : most - (after?.at ?? 0)
      // The simulator's template writes the marker of the beginning, which a prompt is given by itself.
      const prompt =
        inputs ??
        (await post<{ templated_text: string }>('/chat_tokenize', { messages })).templated_text.replace(
          /^<s>/,
          '',
        )
      const answer = await post<SyncAnswer>('/generate', {
        inputs: prompt + (after?.kept ?? ''),
        parameters: {
          ...parameters,
          ...(budget === undefined ? {} : { max_new_tokens: budget }),
          do_sample: parameters.do_sample ?? false,
          seed: after?.seed ?? parameters.seed ?? seedOf(jobId),
          details: true,
        },
      })
      const tokens = answer.details.tokens.slice(0, budget)
      const joined = tokens.map(({ text, special }) => (special ? '' : text)).join('')
      // An output that ends inside a character is decoded to nothing; the texts of its tokens stand then.
      const text = answer.generated_text === '' ? joined : answer.generated_text
      return { ids: tokens.map(({ id }) => id), text }
    },
    stop: () => simulator.stop(),
  }
}
