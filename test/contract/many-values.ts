/** Bodies of a given size (bytes) that are cheap to write and dear to check: many small values, deep ones, long strings. */

const times = (bytes: number, head: string, item: string, tail: string) =>
  listOf(bytes, head, () => item, tail)

function listOf(bytes: number, head: string, item: (index: number) => string, tail: string): string {
  const items: string[] = []
  for (let length = head.length + tail.length; length < bytes; length += (items.at(-1)?.length ?? 0) + 1)
    items.push(item(items.length))
  return head + items.join(',') + tail
}

const PARAMETERS = '{"inputs":"x","parameters":{'
const GRAMMAR = `${PARAMETERS}"grammar":{"type":"json","value":`

/** By what they hold; each is a job's body as text. */
export const DEAR_BODIES: Readonly<Record<string, (bytes: number) => string>> = {
  'messages that are empty': (n) => times(n, '{"messages":[', '{}', ']}'),
  'messages that are numbers': (n) => times(n, '{"messages":[', '0', ']}'),
  'messages with unknown fields': (n) => times(n, '{"messages":[', '{"a":1,"b":2,"role":3}', ']}'),
  'a content of numbers': (n) => times(n, '{"messages":[{"role":"user","content":[', '0', ']}]}'),
  'a content of empty parts': (n) => times(n, '{"messages":[{"role":"user","content":[', '{}', ']}]}'),
  'a content of texts': (n) =>
    times(n, '{"messages":[{"role":"user","content":[', '{"type":"text","text":"x"}', ']}]}'),
  'stops that are numbers': (n) => times(n, `${PARAMETERS}"stop":[`, '0', ']}}'),
  'stops that are letters': (n) => times(n, `${PARAMETERS}"stop":[`, '"a"', ']}}'),
  'unknown fields': (n) => listOf(n, '{"inputs":"x",', (at) => `"k${at}":0`, '}'),
  'unknown parameters': (n) => listOf(n, PARAMETERS, (at) => `"k${at}":0`, '}}'),
  'one field again and again': (n) => times(n, '{"inputs":"x",', '"a":0', '}'),
  'fields whose names are numbers': (n) =>
    listOf(n, '{"inputs":"x",', (at) => `"${(at * 16_777_216) % 4_294_967_290}":0`, '}'),
  'an array for a job': (n) => times(n, '[', '0', ']'),
  'an array for a prompt': (n) => times(n, '{"inputs":[', '0', ']}'),
  'an array for a priority': (n) => times(n, '{"inputs":"x","priority":[', '0', ']}'),
  'an array for a version': (n) => times(n, '{"inputs":"x","v":[', '{"a":1}', ']}'),
  'a list of tools': (n) => times(n, '{"inputs":"x","tools":[', '{}', ']}'),
  'deep arrays': (n) => `{"inputs":${'['.repeat(n / 2)}${']'.repeat(n / 2)}}`,
  'deep arrays without an end': (n) => '['.repeat(n),
  'many deep arrays': (n) => times(n, '{"inputs":[', '['.repeat(60) + ']'.repeat(60), ']}'),
  'a prompt of escapes': (n) => `{"inputs":"${String.raw`\u0041`.repeat(n / 6)}","unknown":1}`,
  'a prompt of halves of pairs': (n) => `{"inputs":"${String.raw`\ud800`.repeat(n / 6)}"}`,
  'a field named by escapes': (n) => `{"inputs":"x","${String.raw`\u0041`.repeat(n / 6)}":1}`,
  'a prompt without an end': (n) => `{"inputs":"${String.raw`\"`.repeat(n / 2)}`,
  'a number of many digits': (n) => `{"inputs":${'1'.repeat(n)}}`,
  'a fraction of many digits': (n) => `{"inputs":0.${'0'.repeat(n)}1}`,
  'a label of many letters': (n) => `{"inputs":"x","tenant":"${'a'.repeat(n)}"}`,
  'a number in quotes': (n) => `${PARAMETERS}"max_new_tokens":"${'9'.repeat(n)}"}}`,
  'white space': (n) => `{"inputs":${' '.repeat(n)}"x","unknown":1}`,
  'a grammar of many properties': (n) =>
    listOf(n, `${GRAMMAR}{"properties":{`, (at) => `"k${at}":{"type":"string"}`, '}}}}}'),
  'a grammar of bad properties': (n) => listOf(n, `${GRAMMAR}{"properties":{`, (at) => `"k${at}":0`, '}}}}}'),
  'a grammar as text': (n) =>
    `${GRAMMAR}${JSON.stringify(listOf(n * 0.8, '{"properties":{', (at) => `"k${at}":{}`, '}}'))}}}}`,
  'a grammar as broken text': (n) => `${GRAMMAR}${JSON.stringify('['.repeat(n))}}}}`,
  'a grammar of an unknown type': (n) =>
    times(n, '{"inputs":"x","parameters":{"grammar":{"type":[', '0', '],"value":{}}}}'),
  'a regex of many groups': (n) =>
    `${PARAMETERS}"grammar":{"type":"regex","value":"${'(a)'.repeat(n / 3)}"}}}`,
  'a pattern of many classes': (n) =>
    `${GRAMMAR}{"properties":{"a":{"type":"string","pattern":"${'(?:a|[b])'.repeat(n / 9)}"}}}}}}`,
}
