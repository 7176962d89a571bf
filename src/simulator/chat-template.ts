/** One message, its content already text. */
export interface ChatMessage {
  readonly role: string
  readonly content: string
}

const MARKS: Readonly<Record<string, string>> = { system: 'SYS', user: 'INST', tool: 'TOOL' }

/**
 * The simulated model's chat template: `<s>`, then `[SYS] text [/SYS]`, `[INST] text [/INST]` and `[TOOL] text [/TOOL]` for what
 * goes in, and ` text</s>` for what the assistant said; the last message, if it is the assistant's, stays open to be
 * continued. It writes `<s>` itself, like many a real template: whoever sends its text to a generating route gets a second
 * one. A role it does not know is an error, told as a string in `error`.
 */
export function renderChat(
  messages: readonly ChatMessage[],
): { readonly text: string } | { readonly error: string } {
  let text = '<s>'
  for (const [index, { role, content }] of messages.entries()) {
    const mark = MARKS[role]
    if (mark !== undefined) text += `[${mark}] ${content} [/${mark}]`
    else if (role === 'assistant') text += index === messages.length - 1 ? ` ${content}` : ` ${content}</s>`
    else return { error: `Template error: unknown role ${JSON.stringify(role)}` }
  }
  return { text }
}
