import type { ChatMessage } from '../contract/job.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import { TgiError } from '../tgi/error.ts'
import type { TgiClient } from '../tgi/client.ts'
import { sameIds } from '../tgi/tokenize.ts'
import type { TokenSpan } from '../tgi/tokenize.ts'

/** Turns chat messages into a prompt. One per replica session: what it has proven holds for that build and model. */
export interface ChatRenderer {
  /**
   * The prompt whose generation feeds the tokens that the chat route would feed: exactly, or with the tokenizer's own marker in
   * front where no prompt can do without it and the pool allows it.
   *
   * @throws {@link TgiError} `validation` when the model has no template, or when no prompt gives those tokens.
   */
  render(messages: readonly ChatMessage[], signal: AbortSignal): Promise<string>
}

/** Whether a chat may get a leading marker that its template does not write. */
export type LeadingMarkerRule = PoolConfig['chat_leading_marker']

/** What makes a rendered text a prompt: nothing, taking off the marker that TGI adds itself, or living with one that it adds. */
type Mend = { readonly kind: 'none' | 'extra' } | { readonly kind: 'strip'; readonly marker: string }

type Client = Pick<TgiClient, 'chatTokenize' | 'tokenize'>

/** Tokens at the head of a chat that decide how its text is read there. */
const HEAD_TOKENS = 3
/** How many heads are cached; templates have a handful, unless they begin with the user's own words. */
const MAX_HEADS = 64

/**
 * A renderer for one replica session.
 *
 * The chat route renders the template and tokenizes it without special tokens; a prompt is tokenized with them, and no client can
 * change that (router/src/lib.rs, `add_special_tokens`). So a template that writes its own beginning-of-sequence marker would be fed
 * with two, and one that writes none (Zephyr, TinyLlama) is fed with one. `truncate` does not take it off: the shard's tokenizer cuts
 * behind the marker (server/text_generation_server/models/flash_causal_lm.py, TGI 3.3.7).
 *
 * Comparing token ids proves which case it is, once for each way in which chats begin: a template may write the marker for some.
 */
export function createChatRenderer(client: Client, rule: () => LeadingMarkerRule): ChatRenderer {
  const proven = new Map<string, Mend>()
  return {
    async render(messages, signal) {
      const { tokens, templatedText } = await client.chatTokenize(messages, { signal })
      const head = tokens
        .slice(0, HEAD_TOKENS)
        .map(({ id }) => id)
        .join()
      const how = proven.get(head) ?? (await prove(client, tokens, templatedText, signal))
      if (proven.size >= MAX_HEADS) proven.clear()
      proven.set(head, how)
      if (how.kind === 'extra' && rule() === 'refuse') throw refused(EXTRA)
      return how.kind === 'strip' ? templatedText.slice(how.marker.length) : templatedText
    },
  }
}

const EXTRA =
  "the replica's tokenizer puts a marker in front of every prompt and the model's chat template writes none; set chat_leading_marker of the pool to accept, or render the chat yourself and send it as inputs"
const UNKNOWN =
  "no prompt gives the tokens of this model's chat template; render the chat yourself and send it as inputs"

const refused = (why: string): TgiError => new TgiError('validation', `messages: ${why}`)

async function prove(
  client: Client,
  tokens: readonly TokenSpan[],
  text: string,
  signal: AbortSignal,
): Promise<Mend> {
  const fed = await client.tokenize(text, { signal })
  if (sameIds(fed, tokens)) return { kind: 'none' }
  const marker = tokens[0]?.text ?? ''
  if (marker !== '' && text.startsWith(marker)) {
    const stripped = await client.tokenize(text.slice(marker.length), { signal })
    if (sameIds(stripped, tokens)) return { kind: 'strip', marker }
  }
  // Accept only a marker that the template does not write: one extra is how such a tokenizer works, two are a mistake.
  if (sameIds(fed.slice(1), tokens) && fed[0]?.id !== tokens[0]?.id) return { kind: 'extra' }
  throw refused(UNKNOWN)
}
