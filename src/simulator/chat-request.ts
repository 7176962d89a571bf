import type { ChatMessage } from './chat-template.ts'
import { grammar } from './grammar.ts'
import type { Read } from './serde.ts'
import { any, bool, defaulted, f32, optional, refuse, sequence, string, struct, u32, u64 } from './serde.ts'

/** The body of `/chat_tokenize`. */
export interface ChatRequest {
  readonly messages: readonly ChatMessage[]
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isText = (value: unknown): value is string => typeof value === 'string'

/** A part as TGI writes it into the text: an image becomes Markdown (router/src/lib.rs). */
function partText(part: unknown): string | undefined {
  if (!isObject(part)) return undefined
  if (part['type'] === 'text' && isText(part['text'])) return part['text']
  const image = part['type'] === 'image_url' ? part['image_url'] : undefined
  return isObject(image) && isText(image['url']) ? `![](${image['url']})` : undefined
}

function isToolCall(call: unknown): boolean {
  if (!isObject(call) || !isText(call['id']) || !isText(call['type'])) return false
  const { function: called } = call
  return (
    isObject(called) &&
    isText(called['name']) &&
    ('arguments' in called || 'parameters' in called) &&
    (called['description'] === undefined || called['description'] === null || isText(called['description']))
  )
}

/** The text of a message's body: content, or the calls as JSON. Undefined: it is neither. */
function bodyText(rest: ReadonlyMap<string, unknown>): string | undefined {
  const content = rest.get('content')
  if (isText(content)) return content
  if (Array.isArray(content)) {
    const texts = content.map(partText)
    if (texts.every(isText)) return texts.join('')
  }
  const calls = rest.get('tool_calls')
  return Array.isArray(calls) && calls.every(isToolCall) ? JSON.stringify(calls) : undefined
}

/** `role`, `name`, and the fields of the body; serde reads a flattened struct only from an object. */
const message: Read<ChatMessage> = (reader) => {
  if (reader.peek() !== 0x7b) return refuse(reader, 'struct Message')
  const own = new Map<string, string | undefined>()
  const rest = new Map<string, unknown>()
  const name = optional(string)
  const take = (key: string): void => {
    if (key !== 'role' && key !== 'name') {
      const value = reader.field(key, () => reader.any())
      // A duplicate key makes the body invalid.
      rest.set(key, rest.has(key) ? undefined : value)
      return
    }
    if (own.has(key)) throw reader.unplaced(`duplicate field \`${key}\``)
    own.set(
      key,
      reader.field(key, () => (key === 'role' ? string(reader) : name.read(reader))),
    )
  }
  return reader.object(take, () => {
    const role = own.get('role')
    if (role === undefined) throw reader.unplaced('missing field `role`')
    const content = bodyText(rest)
    if (content === undefined) {
      throw reader.unplaced('data did not match any variant of untagged enum MessageBody')
    }
    return { role, content }
  })
}

const toolFunction = struct('FunctionDefinition', {
  description: optional(string),
  name: { read: string },
  arguments: { read: any, alias: 'parameters' },
})
const tool = struct('Tool', { type: { read: string }, function: { read: toolFunction } })
const streamOptions = struct('StreamOptions', { include_usage: defaulted(bool, false) })

const toolChoice: Read<unknown> = (reader) => {
  const choice = reader.any()
  if (choice === null || isText(choice)) return choice
  const named = isObject(choice) && choice['type'] === 'function' ? choice['function'] : undefined
  if (isObject(named) && isText(named['name'])) return choice
  throw reader.unplaced('data did not match any variant of untagged enum ToolTypeDeserializer')
}

/** `ChatRequest` in the order of its fields (router/src/lib.rs, TGI 3.3.7). Only `messages` is used. */
export const chatRequest: Read<ChatRequest> = struct('ChatRequest', {
  model: optional(string),
  messages: { read: sequence(message) },
  frequency_penalty: optional(f32),
  logit_bias: optional(sequence(f32)),
  logprobs: optional(bool),
  top_logprobs: optional(u32),
  max_tokens: { ...optional(u32), alias: 'max_completion_tokens' },
  n: optional(u32),
  presence_penalty: optional(f32),
  stop: optional(sequence(string)),
  stream: defaulted(bool, false),
  seed: optional(u64),
  temperature: optional(f32),
  top_p: optional(f32),
  tools: optional(sequence(tool)),
  tool_prompt: optional(string),
  tool_choice: defaulted<unknown>(toolChoice, 'auto'),
  response_format: optional(grammar),
  stream_options: defaulted(streamOptions, { include_usage: false }),
})
