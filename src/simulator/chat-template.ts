import type { JsonBody, Refusal } from './request.ts'
import { isObject, mistyped } from './request.ts'

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

function contentText(content: unknown): string | undefined {
  if (typeof content === 'string') return content
  if (content === undefined || content === null) return ''
  if (!Array.isArray(content)) return undefined
  const texts = content.map((part: unknown) => (isObject(part) ? part['text'] : undefined))
  return texts.every((part) => typeof part === 'string') ? texts.join('') : undefined
}

/** Reads `{"messages":[{"role","content"}]}`, content being a string or text parts; unknown keys are ignored. */
export function parseChat(body: JsonBody): readonly ChatMessage[] | Refusal {
  if (!isObject(body.value)) return mistyped(body, '', 'invalid type: expected struct ChatRequest')
  const given = body.value['messages']
  if (given === undefined) return mistyped(body, '', 'missing field `messages`')
  if (!Array.isArray(given)) return mistyped(body, 'messages', 'invalid type: expected a sequence')
  const messages: ChatMessage[] = []
  for (const [index, message] of given.entries()) {
    const path = `messages[${index}]`
    if (!isObject(message)) return mistyped(body, path, 'invalid type: expected struct Message')
    const role = message['role']
    if (typeof role !== 'string') return mistyped(body, path, 'missing field `role`')
    const content = contentText(message['content'])
    if (content === undefined) {
      return mistyped(body, path, 'data did not match any variant of untagged enum MessageBody')
    }
    messages.push({ role, content })
  }
  return messages
}
