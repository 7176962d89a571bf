import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createModel } from '../../src/simulator/model.ts'
import { countCharacters, encode, simpleTokens } from '../../src/simulator/tokenizer.ts'
import { BOS_ID, EOS_ID, MERGED, PIECES, pieceId } from '../../src/simulator/vocabulary.ts'

function model(text: string, key = 0, diverges = false) {
  return createModel({ text, encoding: encode(text, true), key, diverges })
}

/** Tokens of an answer, and the text after each that does not end inside a character. */
function decode(prompt: string, count: number, key = 0) {
  const source = model(prompt, key)
  const tokens: { readonly id: number; readonly text: string; readonly isWhole: boolean }[] = []
  while (tokens.length < count) {
    source.next(1)
    tokens.push({ id: source.id, text: source.text, isWhole: !source.midCharacter })
    if (source.id === EOS_ID) break
  }
  return tokens
}

const textOf = (tokens: readonly { readonly text: string }[]) => tokens.map(({ text }) => text).join('')
const idsOf = (tokens: readonly { readonly id: number }[]) => tokens.map(({ id }) => id)
const prompts = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }).filter((text) => text.isWellFormed()),
  fc
    .array(fc.constantFrom(...PIECES, 'é', '🙂', '. ', '\n', '[x]'), { maxLength: 12 })
    .map((all) => all.join('')),
)

describe('the model', () => {
  test('goes on the same when prompt and text so far are a new prompt', () => {
    fc.assert(
      fc.property(prompts, fc.nat({ max: 2 ** 31 }), fc.nat({ max: 60 }), (prompt, key, cut) => {
        const whole = decode(prompt, 80, key)
        fc.pre(cut === 0 || whole[cut - 1]?.isWhole === true)
        const rest = decode(prompt + textOf(whole.slice(0, cut)), 80 - cut, key)
        expect(rest).toEqual(whole.slice(cut))
      }),
      { numRuns: 500 },
    )
  })

  test('says something else under another key or after another prompt', () => {
    expect(idsOf(decode('a', 50, 1))).not.toEqual(idsOf(decode('a', 50, 2)))
    expect(idsOf(decode('a', 50))).not.toEqual(idsOf(decode('b', 50)))
  })

  test('never breaks a tie alone', () => {
    const one = model('x', 0, true)
    const other = model('x', 0, false)
    for (let count = 0; count < 200; count += 1) {
      one.next(1)
      other.next(9)
      expect(one.id).toBe(other.id)
    }
  })

  test('ends a text N tokens after its last bracket, wherever it is picked up', () => {
    const whole = decode('[eos:12] and then [/INST]', 50)
    expect(whole.length).toBe(13)
    expect(whole.at(-1)?.id).toBe(EOS_ID)
    const start = textOf(whole.slice(0, 5))
    expect(idsOf(decode(`[eos:12] and then [/INST]${start}`, 50))).toEqual(idsOf(whole.slice(5)))
  })
})

describe('the tokenizer', () => {
  test('gives back the ids of a generated text, but where two pieces make a third', () => {
    let canonical = 0
    const runs = 300
    for (let run = 0; run < runs; run += 1) {
      const tokens = decode(`prompt ${run}.`, 100)
      const last = tokens.findLastIndex(({ isWhole }) => isWhole)
      const kept = tokens.slice(0, last + 1)
      const ids = encode(textOf(kept), false).ids
      const isSame = ids.length === kept.length && kept.every(({ id }, at) => id === ids[at])
      if (isSame) canonical += 1
      else expect(MERGED.some((piece) => ids.includes(pieceId(piece)))).toBe(true)
    }
    expect(canonical).toBeGreaterThan(runs * 0.7)
    expect(canonical).toBeLessThan(runs)
  })

  test('merges a pair on order, across the seam of prompt and answer too', () => {
    const [first, second, third] = decode('[merge:0]', 3)
    expect(first?.text).toBe(' some')
    expect(second?.text).toBe('thing')
    expect(encode(' something', false).ids).toEqual([pieceId(' something')])
    const rest = decode('[merge:0] some', 2)
    expect(idsOf(rest)).toEqual([second?.id, third?.id])
  })

  test('covers every text without a gap and in whole characters', () => {
    fc.assert(
      fc.property(prompts, (text) => {
        const { ids, starts, ends } = encode(text, false)
        const tokens = simpleTokens(text, { ids, starts, ends })
        let at = 0
        for (const [index, start] of starts.entries()) {
          expect(start === at || start === starts[index - 1]).toBe(true)
          at = ends[index] ?? 0
        }
        expect(at).toBe(text.length)
        const bytes = Buffer.from(text)
        for (const token of tokens) {
          expect(bytes.toString('utf8', token.start, token.stop)).toBe(token.text)
        }
        expect(countCharacters(text)).toBe(Array.from(text).length)
        expect(encode(text, true).ids).toEqual([BOS_ID, ...ids])
      }),
      { numRuns: 300 },
    )
  })
})
