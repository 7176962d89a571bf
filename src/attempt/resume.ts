/**
 * How an answer goes on that was interrupted after its first token.
 *
 * | what is published | what is wanted | then |
 * |---|---|---|
 * | as many tokens as may be, or a stop sequence | | `complete`: its end is written, nothing is asked for |
 * | else | `continue` | prompt and text so far are a new prompt, where that can be proven right |
 * | | `replay`, or what cannot be continued | the same request once more, on the same build: it must repeat the tokens |
 *
 * To continue is right where the replica reads the text before the seam as the very tokens that were generated: then
 * nothing is cut in two there, and the answer goes on in the middle of the same thought. `/tokenize` shows it; it is enough to
 * look at the last {@link PROVEN}, since models now and then write in more tokens than a tokenizer would, and further back
 * that changes nothing at the seam. It does change the model's input: other tokens for the same text, so even a greedy answer may
 * go on differently. `same_tokens` reports whether all of them are the same; requiring it turned one hand-over in five into a
 * replay. The sampler's state is lost as well, so the seam is marked either way (`exact: false`).
 */
import type { EventData } from '../contract/event.ts'
import { seedAfter } from '../contract/ids.ts'
import type { Job } from '../contract/job.ts'
import type { Versions } from '../contract/replica-entry.ts'
import type { TgiClient } from '../tgi/client.ts'
import { TgiError } from '../tgi/error.ts'
import type { TgiErrorKind } from '../tgi/error.ts'
import { sameIds } from '../tgi/tokenize.ts'
import { textOfTokens } from './log-view.ts'
import type { Published } from './log-view.ts'

/** A request that goes on with an answer. */
export interface Resumption {
  readonly kind: 'request'
  readonly mode: 'continue' | 'replay'
  readonly prompt: string
  readonly seed: number
  readonly maxNewTokens: number
  /** The index of the first token that this request generates. */
  readonly seam: number
  /** The text before the seam. */
  readonly kept: string
  /** Ids of the tokens from the seam on, which have to come again. */
  readonly repeat: readonly number[]
  /** How many tokens the job's own prompt has, where it was asked. */
  readonly tokensIn?: number | undefined
  /** With `continue`: the replica reads the text before the seam as exactly the published tokens. */
  readonly sameTokens?: boolean | undefined
}

/** What an attempt does with an answer of which a part is there. */
export type ResumePlan =
  | Resumption
  | { readonly kind: 'complete'; readonly finishReason: EventData['end']['finish_reason'] }
  /** Only the build that generated it can repeat it, and this replica runs another. */
  | { readonly kind: 'elsewhere'; readonly build: Published['by'] }

/** What is known of the job. */
export interface ResumeRequest {
  readonly job: Job
  /** The prompt, rendered if it is a chat. */
  readonly prompt: () => Promise<string>
  readonly published: Published
  /** The job's own seed and budget. */
  readonly seed: number
  readonly maxNewTokens: number
  readonly versions: Versions
  readonly client: Pick<TgiClient, 'tokenize'>
  readonly signal: AbortSignal
}

/** How many tokens before a seam have to be read as they were written. */
const PROVEN = 8
/** Long prompts take their time to be tokenized (ms). */
const TOKENIZE_TIMEOUT_MS = 20_000
/** The replica is there and will not tokenize this. */
const UNPROVABLE: ReadonlySet<TgiErrorKind> = new Set([
  'validation',
  'refused',
  'too_large',
  'malformed',
  'not_tgi',
  'http',
])

/**
 * Decides how to go on.
 *
 * @throws {@link TgiError} where the replica does not answer; the signal's reason.
 */
export async function planResume(request: ResumeRequest): Promise<ResumePlan> {
  const { job, published, maxNewTokens, versions } = request
  const { tokens, by } = published
  const text = textOfTokens(tokens)
  if (tokens.length >= maxNewTokens) return { kind: 'complete', finishReason: 'length' }
  // TGI looks at the text after every token (models/causal_lm and utils/tokens.py, 3.3.7).
  const stops = job.parameters.stop ?? []
  if (stops.some((stop) => text.endsWith(stop))) return { kind: 'complete', finishReason: 'stop_sequence' }
  if (wantsContinue(job) && by.model_id === versions.model_id && continuable(published, stops, text)) {
    const prompt = await request.prompt()
    const seam = tokens.length
    const proof = await proveSeam(request, prompt, text)
    if (proof !== undefined) {
      return {
        kind: 'request',
        mode: 'continue',
        prompt: prompt + text,
        seed: seedAfter(request.seed, seam),
        maxNewTokens: maxNewTokens - seam,
        seam,
        kept: text,
        repeat: [],
        ...proof,
      }
    }
  }
  if (by.engine_version !== versions.engine_version || by.model_id !== versions.model_id)
    return { kind: 'elsewhere', build: by }
  return replay(request)
}

/** What a job asks for: a grammar has no way into the middle of itself. */
function wantsContinue({ on_interrupt: wish, parameters }: Job): boolean {
  return (wish ?? 'continue') === 'continue' && (parameters.grammar ?? undefined) === undefined
}

/** Whether the text so far can stand for its tokens. */
function continuable({ tokens }: Published, stops: readonly string[], text: string): boolean {
  // The last one may have been the end of the sequence: TGI does not say which special token that is.
  if (tokens.some(({ special }) => special === true)) return false
  // The replica would not see that a stop sequence had begun before the seam.
  return !stops.some((stop) => beginsIn(text, stop))
}

/** Whether a text ends with the beginning of a stop sequence. */
function beginsIn(text: string, stop: string): boolean {
  for (let length = Math.min(stop.length - 1, text.length); length > 0; length -= 1)
    if (text.endsWith(stop.slice(0, length))) return true
  return false
}

/** The `resume` of `started`. */
export function resumeOf({ mode, seam, sameTokens }: Resumption): EventData['started']['resume'] {
  const exact = seam === 0
  return sameTokens === undefined ? { mode, exact } : { mode, exact, same_tokens: sameTokens }
}

/** Whether the replica reads the last published tokens in prompt and text; undefined: it does not, or this cannot be checked. */
async function proveSeam(
  request: ResumeRequest,
  prompt: string,
  text: string,
): Promise<Required<Pick<Resumption, 'tokensIn' | 'sameTokens'>> | undefined> {
  const { client, versions, signal } = request
  const { tokens } = request.published
  const options = { signal, timeoutMs: TOKENIZE_TIMEOUT_MS }
  try {
    const [before, whole] = await Promise.all([
      client.tokenize(prompt, options),
      client.tokenize(prompt + text, options),
    ])
    const left = request.maxNewTokens - tokens.length
    if (whole.length > (versions.max_input_tokens ?? Infinity)) return undefined
    if (whole.length + left > versions.max_total_tokens) return undefined
    // Where there are fewer, the seam of prompt and answer is looked at as well.
    if (tokens.length < PROVEN && whole.length !== before.length + tokens.length) return undefined
    const last = tokens.slice(-PROVEN)
    if (!sameIds(whole.slice(-last.length), last)) return undefined
    // Compare the prompt's tokens, too: the answer's first words may have changed its last one.
    return { tokensIn: before.length, sameTokens: sameIds(whole, [...before, ...tokens]) }
  } catch (error) {
    if (error instanceof TgiError && UNPROVABLE.has(error.kind)) return undefined
    throw error
  }
}

/** The last request again. */
async function replay(request: ResumeRequest): Promise<Resumption> {
  const { tokens, seam } = request.published
  const kept = textOfTokens(tokens.slice(0, seam))
  return {
    kind: 'request',
    mode: 'replay',
    prompt: (await request.prompt()) + kept,
    seed: seam === 0 ? request.seed : seedAfter(request.seed, seam),
    maxNewTokens: request.maxNewTokens - seam,
    seam,
    kept,
    repeat: tokens.slice(seam).map(({ id }) => id),
  }
}
