import { expect, test } from 'vitest'
import { createChatRenderer } from '../../src/attempt/chat.ts'
import { createTgiClient } from '../../src/tgi/client.ts'
import { startSimulator } from '../../src/simulator/server.ts'

const messages = [{ role: 'user', content: 'How deep is the sea?' }]
const { signal } = new AbortController()

test('a rendered chat feeds the tokens that the chat route feeds, without a doubled marker at the start', async () => {
  const simulator = await startSimulator()
  const client = createTgiClient({ url: simulator.url })
  try {
    const chat = await client.chatTokenize(messages)
    // The template writes the marker itself, so its text as a prompt would get two.
    const doubled = await client.tokenize(chat.templatedText)
    expect(doubled.length).toBe(chat.tokens.length + 1)

    const prompt = await createChatRenderer(client).render(messages, signal)
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
    const renderer = createChatRenderer(counting)
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
  expect(await createChatRenderer(client).render(messages, signal)).toBe(text)
})

test('a template that no prompt can repeat is refused by name', async () => {
  const client = {
    chatTokenize: async () => ({ tokens: [{ id: 9, text: 'x', start: 0, stop: 1 }], templatedText: 'x' }),
    tokenize: async () => [{ id: 8, text: 'x', start: 0, stop: 1 }],
  }
  await expect(createChatRenderer(client).render(messages, signal)).rejects.toMatchObject({
    kind: 'validation',
    message: expect.stringContaining('messages') as string,
  })
})
