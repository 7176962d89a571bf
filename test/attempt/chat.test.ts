import { expect, test } from 'vitest'
import { createChatRenderer } from '../../src/attempt/chat.ts'
import { createTgiClient } from '../../src/tgi/client.ts'
import type { ChatMarker } from '../../src/simulator/chat-template.ts'
import { startSimulator } from '../../src/simulator/server.ts'

const messages = [{ role: 'user', content: 'How deep is the sea?' }]
const { signal } = new AbortController()
const accept = () => 'accept' as const

test('a rendered chat feeds the tokens that the chat route feeds, without a doubled marker at the start', async () => {
  const simulator = await startSimulator()
  const client = createTgiClient({ url: simulator.url })
  try {
    const chat = await client.chatTokenize(messages)
    // The template writes the marker itself, so its text as a prompt would get two.
    const doubled = await client.tokenize(chat.templatedText)
    expect(doubled.length).toBe(chat.tokens.length + 1)

    const prompt = await createChatRenderer(client, accept).render(messages, signal)
    const fed = await client.tokenize(prompt)
    expect(fed.map((token) => token.id)).toEqual(chat.tokens.map((token) => token.id))
  } finally {
    await client.close()
    await simulator.stop()
  }
})

test('what was proven once is not asked again in the same session', async () => {
  const simulator = await startSimulator()
  const client = createTgiClient({ url: simulator.url })
  let asked = 0
  const counting = {
    chatTokenize: (...args: Parameters<typeof client.chatTokenize>) => client.chatTokenize(...args),
    tokenize: (...args: Parameters<typeof client.tokenize>) => {
      asked += 1
      return client.tokenize(...args)
    },
  }
  try {
    const renderer = createChatRenderer(counting, accept)
    await renderer.render(messages, signal)
    const after = asked
    await renderer.render([{ role: 'user', content: 'And how wide?' }], signal)
    expect(asked).toBe(after)
  } finally {
    await client.close()
    await simulator.stop()
  }
})

/** The tokens of a text, one a character, with the offsets that TGI gives. */
function spansOf(whole: string) {
  let at = 0
  return Array.from(whole, (character) => {
    const start = at
    at += Buffer.byteLength(character)
    return { id: character.codePointAt(0) ?? 0, text: character, start, stop: at }
  })
}

test('a chat whose offsets count UTF-8 bytes is rendered as any other', async () => {
  const marker = '«début»'
  const text = '大海有多深？🌊'
  const first = { id: 1, text: marker, start: 0, stop: Buffer.byteLength(marker) }
  const client = {
    chatTokenize: async () => ({ tokens: [first, ...spansOf(text)], templatedText: marker + text }),
    // A prompt gets the marker from the replica.
    tokenize: async (prompt: string) => [{ ...first, start: 0, stop: 0 }, ...spansOf(prompt)],
  }
  expect(await createChatRenderer(client, accept).render(messages, signal)).toBe(text)
})

test('a template that no prompt can repeat is refused by name', async () => {
  const client = {
    chatTokenize: async () => ({ tokens: [{ id: 9, text: 'x', start: 0, stop: 1 }], templatedText: 'x' }),
    tokenize: async () => [{ id: 8, text: 'x', start: 0, stop: 1 }],
  }
  await expect(createChatRenderer(client, accept).render(messages, signal)).rejects.toMatchObject({
    kind: 'validation',
    message: expect.stringContaining('messages') as string,
  })
})

/** The ids of a chat as the chat route feeds them, and as a prompt made of it feeds them. */
async function feed(
  chatMarker: ChatMarker,
  chats: readonly (readonly { role: string; content: string }[])[],
) {
  const simulator = await startSimulator({ chatMarker })
  const client = createTgiClient({ url: simulator.url })
  try {
    const renderer = createChatRenderer(client, accept)
    const all = []
    for (const chat of chats) {
      const { tokens } = await client.chatTokenize(chat)
      const fed = await client.tokenize(await renderer.render(chat, signal))
      all.push({ chat: tokens.map(({ id }) => id), fed: fed.map(({ id }) => id) })
    }
    return all
  } finally {
    await client.close()
    await simulator.stop()
  }
}

const system = [{ role: 'system', content: 'Be brief.' }, ...messages]
const BOS_ID = 1
const token = (id: number, text: string) => ({ id, text, start: 0, stop: 1 })

test('a template that writes no marker is fed with the one that the tokenizer adds, and nothing else differs', async () => {
  for (const { chat, fed } of await feed('never', [messages, system])) expect(fed).toEqual([BOS_ID, ...chat])
})

test.for([
  [messages, system, messages],
  [system, messages, system],
])(
  'each chat of a template that writes the marker for some is rendered in its own way: %#',
  async (chats) => {
    for (const { chat, fed } of await feed('with-system', chats)) {
      expect(fed).toEqual(chat[0] === BOS_ID ? chat : [BOS_ID, ...chat])
    }
  },
)

test('a pool may refuse a marker that the template does not write, and the message says what to do', async () => {
  const simulator = await startSimulator({ chatMarker: 'with-system' })
  const client = createTgiClient({ url: simulator.url })
  let rule: 'accept' | 'refuse' = 'refuse'
  try {
    const renderer = createChatRenderer(client, () => rule)
    await expect(renderer.render(messages, signal)).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringMatching(
        /chat template writes none; set chat_leading_marker of the pool/,
      ) as string,
    })
    await expect(renderer.render(system, signal)).resolves.toContain('[SYS]')
    rule = 'accept'
    await expect(renderer.render(messages, signal)).resolves.toContain('[INST]')
  } finally {
    await client.close()
    await simulator.stop()
  }
})

test('no marker is fed twice: a template that writes one in a way that cannot be taken off is refused', async () => {
  const client = {
    // The marker is there, but its text is not what the template begins with.
    chatTokenize: async () => ({ tokens: [token(1, ''), token(9, 'x')], templatedText: '<s>x' }),
    tokenize: async () => [token(1, ''), token(1, ''), token(9, 'x')],
  }
  await expect(createChatRenderer(client, accept).render(messages, signal)).rejects.toMatchObject({
    kind: 'validation',
  })
})
