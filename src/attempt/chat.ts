import type { ChatMessage } from '../contract/job.ts'
import { TgiError } from '../tgi/error.ts'
import type { TgiClient } from '../tgi/client.ts'
import type { TokenSpan } from '../tgi/tokenize.ts'

/** Turns chat messages into a prompt. One per replica session: what it has proven holds for that build and model. */
export interface ChatRenderer {
  /**
   * The prompt whose generation feeds exactly the tokens that the chat route would feed.
   *
   * @throws {@link TgiError} `validation` when the model has no template, or when no prompt gives those tokens.
   */
  render(messages: readonly ChatMessage[], signal: AbortSignal): Promise<string>
}

/** What makes a rendered text a prompt: nothing, or taking off the marker that TGI will add itself. */
type Mend = { readonly kind: 'none' } | { readonly kind: 'strip'; readonly marker: string }

/**
 * A renderer for one replica session.
 *
 * The chat route renders the template and tokenizes it without special tokens; a prompt is tokenized with them
 * (router/src/lib.rs, `add_special_tokens`). A template that writes its own beginning-of-sequence marker would so
 * be fed with two. Which it is, is found out and proven on the first chat of a session by comparing token ids.
 */
export function createChatRenderer(client: Pick<TgiClient, 'chatTokenize' | 'tokenize'>): ChatRenderer {
  let proven: Mend | undefined
  return {
    async render(messages, signal) {
      const { tokens, templatedText } = await client.chatTokenize(messages, { signal })
      proven ??= await prove(client, tokens, templatedText, signal)
      return mend(proven, templatedText)
    },
  }
}

async function prove(
  client: Pick<TgiClient, 'tokenize'>,
  tokens: readonly TokenSpan[],
  text: string,
  signal: AbortSignal,
): Promise<Mend> {
  const candidates: Mend[] = [{ kind: 'none' }]
  const marker = tokens[0]?.text
  if (marker !== undefined && marker !== '' && text.startsWith(marker))
    candidates.push({ kind: 'strip', marker })
  for (const candidate of candidates) {
    const fed = await client.tokenize(mend(candidate, text), { signal })
    if (fed.length === tokens.length && fed.every((token, index) => token.id === tokens[index]?.id))
      return candidate
  }
  throw new TgiError(
    'validation',
    "messages: no prompt gives the tokens of this model's chat template; render the chat yourself and send it as inputs",
  )
}

function mend(how: Mend, text: string): string {
  return how.kind === 'strip' && text.startsWith(how.marker) ? text.slice(how.marker.length) : text
}
