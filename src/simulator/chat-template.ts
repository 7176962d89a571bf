/** One message, its content already text. */
export interface ChatMessage {
  readonly role: string
  readonly content: string
}

/** Which chats begin with `<s>`. */
export const CHAT_MARKERS = ['always', 'never', 'with-system'] as const

/** One of {@link CHAT_MARKERS}. */
export type ChatMarker = (typeof CHAT_MARKERS)[number]

const MARKS: Readonly<Record<string, string>> = { system: 'SYS', user: 'INST', tool: 'TOOL' }

/**
 * The simulated model's chat template: `<s>`, then `[SYS] text [/SYS]`, `[INST] text [/INST]` and `[TOOL] text [/TOOL]` for what
 * goes in, and ` text</s>` for what the assistant said; the last message, if it is the assistant's, stays open to be
 * continued. By default it writes `<s>` itself, as many real templates do, so a generating route that is given its text adds a
 * second one. An unknown role is an error, returned as a string in `error`.
 */
export function renderChat(
  messages: readonly ChatMessage[],
  marker: ChatMarker = 'always',
): { readonly text: string } | { readonly error: string } {
  const isMarked = marker === 'always' || (marker === 'with-system' && messages[0]?.role === 'system')
  let text = isMarked ? '<s>' : ''
  for (const [index, { role, content }] of messages.entries()) {
    const mark = MARKS[role]
    if (mark !== undefined) text += `[${mark}] ${content} [/${mark}]`
    else if (role === 'assistant') text += index === messages.length - 1 ? ` ${content}` : ` ${content}</s>`
    else return { error: `Template error: unknown role ${JSON.stringify(role)}` }
  }
  return { text }
}
