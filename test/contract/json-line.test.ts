import fc from 'fast-check'
import { expect, test } from 'vitest'
import { jsonLine } from '../../src/contract/json-line.ts'
import { entryId } from '../../src/contract/stream-id.ts'
import { formatSse } from '../../src/http/sse.ts'

/** Every character that Unicode, Python's `splitlines` or a terminal takes for a line's end. */
const BREAKS = '\n\r\v\f\u001c\u001d\u001e\u0085\u2028\u2029'

test('a value is one line to every reader, and the same value', () => {
  const text = fc.array(fc.oneof(fc.constantFrom(...BREAKS.split('')), fc.string()), { maxLength: 8 })
  fc.assert(
    fc.property(text, (parts) => {
      const value = { [parts.join('')]: [parts.join('|')] }
      const line = jsonLine(value)
      for (const character of BREAKS.split('')) expect(line).not.toContain(character)
      expect(JSON.parse(line)).toEqual(value)
    }),
  )
  expect(jsonLine({ t: 'a\u2028b\u2029c\u0085d' })).toBe('{"t":"a\\u2028b\\u2029c\\u0085d"}')
})

test('an event over SSE has three lines and an empty one', () => {
  const data = { t: `a${BREAKS}b`, i: 0, id: 1, logprob: -1 }
  const lines = formatSse({ id: entryId(1, 2), event: 'token', data }).split(new RegExp(`[${BREAKS}]`))
  expect(lines).toEqual(['id: 1-2', 'event: token', expect.stringMatching(/^data: \{/), '', ''])
})
