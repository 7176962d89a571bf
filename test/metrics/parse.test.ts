import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Family, FamilyType, Label, Sample } from '../../src/metrics/family.ts'
import { parseExposition } from '../../src/metrics/parse.ts'
import { renderExposition } from '../../src/metrics/render.ts'
import { readExposition } from '../../src/metrics/tolerant.ts'

describe('an exposition', () => {
  test.for<[what: string, text: string, families: readonly Family[]]>([
    ['of nothing', '', []],
    ['of blank lines and comments', '\n  \t\n# a comment\n#\n#HELPless x\n# TYPES x counter\n', []],
    [
      'of a bare sample is untyped',
      'up 1\n',
      [{ name: 'up', type: 'untyped', samples: [{ name: 'up', labels: [], value: '1' }] }],
    ],
    [
      'with HELP, TYPE, labels and a timestamp',
      '# HELP a:b The  help \n# TYPE a:b counter\na:b{x="1",y="2",} 1027 1395066363000\n',
      [
        {
          name: 'a:b',
          help: 'The  help ',
          type: 'counter',
          samples: [
            {
              name: 'a:b',
              labels: [
                ['x', '1'],
                ['y', '2'],
              ],
              value: '1027',
              timestamp: '1395066363000',
            },
          ],
        },
      ],
    ],
    [
      'with blanks wherever they may be',
      ' \t# \t TYPE\t a \tgauge \n\t a { x = "1" , y = "2" , } \t -3.5e-4 \t -5 \n',
      [
        {
          name: 'a',
          type: 'gauge',
          samples: [
            {
              name: 'a',
              labels: [
                ['x', '1'],
                ['y', '2'],
              ],
              value: '-3.5e-4',
              timestamp: '-5',
            },
          ],
        },
      ],
    ],
    [
      'with escapes in labels and HELP',
      String.raw`# HELP a a\\b\nc\"d` + '\n' + String.raw`a{p="C:\\DIR\\n",q="say \"hi\"\n#{},= é"} 1` + '\n',
      [
        {
          name: 'a',
          help: 'a\\b\nc\\"d',
          type: 'untyped',
          samples: [
            {
              name: 'a',
              labels: [
                ['p', 'C:\\DIR\\n'],
                ['q', 'say "hi"\n#{},= é'],
              ],
              value: '1',
            },
          ],
        },
      ],
    ],
    [
      'with a histogram in its parts',
      '# TYPE h histogram\nh_bucket{le="0.1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n',
      [
        {
          name: 'h',
          type: 'histogram',
          samples: [
            { name: 'h_bucket', labels: [['le', '0.1']], value: '1' },
            { name: 'h_bucket', labels: [['le', '+Inf']], value: '2' },
            { name: 'h_sum', labels: [], value: '3' },
            { name: 'h_count', labels: [], value: '2' },
          ],
        },
      ],
    ],
    [
      'with a summary in its parts, which has no _bucket',
      '# TYPE s summary\ns{quantile="0.5"} NaN\ns_sum 0\ns_count 0\ns_bucket 1\n',
      [
        {
          name: 's',
          type: 'summary',
          samples: [
            { name: 's', labels: [['quantile', '0.5']], value: 'NaN' },
            { name: 's_sum', labels: [], value: '0' },
            { name: 's_count', labels: [], value: '0' },
          ],
        },
        { name: 's_bucket', type: 'untyped', samples: [{ name: 's_bucket', labels: [], value: '1' }] },
      ],
    ],
    [
      'with a counter whose name ends as a part of a histogram does',
      '# TYPE r_count counter\nr_count 1\n',
      [{ name: 'r_count', type: 'counter', samples: [{ name: 'r_count', labels: [], value: '1' }] }],
    ],
    [
      'with a family whose lines do not stand together',
      '# TYPE a counter\na 1\nb 2\na{x="1"} 3\n',
      [
        {
          name: 'a',
          type: 'counter',
          samples: [
            { name: 'a', labels: [], value: '1' },
            { name: 'a', labels: [['x', '1']], value: '3' },
          ],
        },
        { name: 'b', type: 'untyped', samples: [{ name: 'b', labels: [], value: '2' }] },
      ],
    ],
    [
      'with a family that has no sample yet',
      '# HELP a \n# TYPE a untyped\n',
      [{ name: 'a', help: '', type: 'untyped', samples: [] }],
    ],
  ])('%s is read', ([, text, families]) => {
    expect(parseExposition(text)).toEqual(families)
  })

  test.for([
    '0',
    '-0',
    '+1',
    '1.',
    '.5',
    '1e5',
    '1E+05',
    '0.00015000000000000001',
    '123456789012345678901234567890',
    '+Inf',
    '-Inf',
    'Inf',
    'inf',
    'NaN',
    'nan',
  ])('keeps the number %s as it was written', (value) => {
    expect(parseExposition(`a ${value}\n`)[0]?.samples).toEqual([{ name: 'a', labels: [], value }])
  })
})

describe('a malformed exposition', () => {
  test.for<[text: string, message: RegExp]>([
    ['a 1\nb 2', /line 2, column 4: expected a newline, got the end of the text/],
    ['a 1\n\n1a 1\n', /line 3, column 1: expected a metric name, got "1"/],
    ['<!doctype html>\n', /line 1, column 1: expected a metric name, got "<"/],
    ['{"error":"x"}\n', /line 1, column 1: expected a metric name, got "{"/],
    ['é 1\n', /line 1, column 1: expected a metric name, got "é"/],
    ['a\n', /line 1, column 2: expected a number, got the end of the line/],
    ['a one\n', /line 1, column 3: expected a number, got "o"/],
    ['a 0x10\n', /column 3: expected a number, got "0"/],
    ['a 1_000\n', /column 3: expected a number/],
    ['a 1.2.3\n', /column 3: expected a number/],
    ['a 1 2.5\n', /column 5: expected a timestamp \(ms\), got "2"/],
    ['a 1 2 3\n', /column 7: expected a newline, got "3"/],
    ['a{x="1"\n', /column 8: expected , or }, got the end of the line/],
    ['a{x="1\n', /column 7: expected a closing ", got the end of the line/],
    ['a{x="1', /column 7: expected a closing ", got the end of the text/],
    [String.raw`a{x="\t"} 1` + '\n', /column 7: expected .*, got "t"/],
    ['a{x=1} 1\n', /column 5: expected ", got "1"/],
    ['a{x} 1\n', /column 4: expected =, got "}"/],
    ['a{1="1"} 1\n', /column 3: expected a label name or }, got "1"/],
    ['a{,} 1\n', /column 3: expected a label name or }, got ","/],
    ['a{x="1",,} 1\n', /column 9: expected a label name or }, got ","/],
    ['a{x="1",y="2",x="3"} 1\n', /column 15: expected each label once/],
    [
      `a{${Array.from({ length: 65 }, (_, n) => `l${n}="1"`).join(',')}} 1\n`,
      /line 1, column \d+: expected at most 64 labels/,
    ],
    ['a{__name__="b"} 1\n', /column 3: expected any label but __name__/],
    ['a{x="1\u0000"} 1\n', /column 7: expected no NUL/],
    ['# HELP a b\u0000\n', /column 11: expected no NUL/],
    ['# TYPE a histo\n', /column 10: expected a type \(counter, .*\), got "h"/],
    ['# TYPE a\n', /column 9: expected a type .*, got the end of the line/],
    ['# TYPE 1 counter\n', /column 8: expected a metric name, got "1"/],
    ['# TYPE a-b counter\n', /column 9: expected a blank, got "-"/],
    ['# TYPE a counter\n# TYPE a counter\n', /line 2, column 10: expected one TYPE a name/],
    ['# HELP a x\n# HELP a x\n', /line 2, column 10: expected one HELP a name/],
    ['a 1\n# TYPE a counter\n', /line 2, column 10: expected TYPE before the first sample/],
    ['# TYPE h histogram\nh 1\n', /line 2, column 1: expected _bucket, _sum or _count/],
    ['# TYPE h histogram\nh_bucket 1\n', /line 2, column 1: expected a label le that is a number/],
    ['# TYPE h histogram\nh_bucket{le="x"} 1\n', /line 2, column 1: expected a label le/],
    ['# TYPE s summary\ns 1\n', /line 2, column 1: expected a label quantile that is a number/],
    ['a 1\r\n', /column 3: expected a number/],
    ['a 1\u0000\n', /column 3: expected a number/],
  ])('%j is told by line, column and what was expected', ([text, message]) => {
    expect(() => parseExposition(text)).toThrow(message)
    expect(() => parseExposition(text)).toThrow(expect.objectContaining({ kind: 'REPLICA_UNAVAILABLE' }))
  })

  test.for(['a %\n', 'a{x="%\n', '# TYPE a %\n', 'a{%', 'a 1 %\n', '%'])(
    '%j is not repeated in the error',
    (text) => {
      const secret = 'xylophonequartz'
      let message = ''
      try {
        parseExposition(text.replace('%', secret))
      } catch (error) {
        message = String(error)
      }
      expect(message).toContain('expected')
      expect(message).not.toContain(secret.slice(0, 3))
    },
  )

  test.for<[what: string, text: string]>([
    ['one long name', `${'a'.repeat(4e6)}\n`],
    ['one long number', `a ${'1'.repeat(4e6)}x\n`],
    ['one long label', `a{x="${'\\\\'.repeat(2e6)}\n`],
    ['a label after the other', `a{${'x="",'.repeat(7e5)}`],
    ['blanks alone', ' '.repeat(4e6)],
    ['underscores', `${'_'.repeat(4e6)}_sum\n`],
    ['samples of no end', 'a{x="1"} 1\n'.repeat(4e5)],
    ['names of no end', Array.from({ length: 4e5 }, (_, n) => `a${n} 1\n`).join('')],
  ])('of four megabytes in %s is refused in bounded time', ([, text]) => {
    // Anything that is not linear takes minutes here, more than a test may.
    expect(() => parseExposition(text)).toThrow(/^metrics, line \d+, column \d+: expected .{1,80}$/)
  })

  test('of four megabytes in empty lines is nothing, in bounded time', () => {
    expect(parseExposition('\n'.repeat(4e6))).toEqual([])
  })
})

/** Anything but NUL and halves of characters, which a decoded text does not hold. */
const text = fc.string({ unit: 'binary' }).map((any) => any.replaceAll('\0', '').toWellFormed())
const label = fc.tuple(fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_]{0,5}$/), text)
const labels = (without: string) =>
  fc.uniqueArray(
    label.filter(([name]) => name !== without),
    { selector: ([name]) => name, maxLength: 5 },
  )
const value = fc.oneof(
  fc.double().map((number) => (Number.isFinite(number) ? String(number) : number > 0 ? '+Inf' : 'NaN')),
  fc.constantFrom('+Inf', '-Inf', 'NaN', '0.00015000000000000001'),
)
const timestamp = fc.option(fc.integer().map(String), { nil: undefined })

function samples(name: string, type: FamilyType): fc.Arbitrary<Sample[]> {
  const sample = (suffix: string, ...extra: Label[]) =>
    fc
      .record({ labels: labels(extra[0]?.[0] ?? ''), value, timestamp })
      .map(({ timestamp: at, ...rest }): Sample => ({
        name: name + suffix,
        value: rest.value,
        labels: [...rest.labels, ...extra],
        ...(at === undefined ? {} : { timestamp: at }),
      }))
  const parts = [sample('_sum'), sample('_count')]
  const kinds = {
    counter: [sample('')],
    gauge: [sample('')],
    untyped: [sample('')],
    histogram: [sample('_bucket', ['le', '0.1']), sample('_bucket', ['le', '+Inf']), ...parts],
    summary: [sample('', ['quantile', '0.99']), ...parts],
  }
  return fc.array(fc.oneof(...kinds[type]), { maxLength: 6 })
}

/** Names end in a letter of their own, so that none is a part of another. */
const family = fc
  .record({
    name: fc.stringMatching(/^[a-zA-Z_:][a-zA-Z0-9_:]{0,8}$/).map((name) => `${name}z`),
    type: fc.constantFrom<FamilyType>('counter', 'gauge', 'histogram', 'summary', 'untyped'),
    // The format has no way to say blanks at the start of a HELP.
    help: fc.option(
      text.map((any) => any.replace(/^[ \t]+/, '')),
      { nil: undefined },
    ),
  })
  .chain(({ help, ...head }) =>
    samples(head.name, head.type).map((all): Family => ({
      ...head,
      ...(help === undefined ? {} : { help }),
      samples: all,
    })),
  )

test('what is rendered is read as it was', () => {
  fc.assert(
    fc.property(fc.uniqueArray(family, { selector: ({ name }) => name, maxLength: 6 }), (families) => {
      expect(parseExposition(renderExposition(families))).toEqual(families)
    }),
  )
})

test('no text makes it throw anything but its one error', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '# TYPE ',
      '# HELP ',
      'a',
      '_sum',
      ' ',
      '\n',
      '{',
      '}',
      '"',
      '\\',
      ',',
      '=',
      '1',
      'histogram',
      'le',
    ),
    fc.string({ unit: 'binary', maxLength: 3 }),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      try {
        const families = parseExposition(pieces.join(''))
        expect(parseExposition(renderExposition(families)).length).toBe(families.length)
      } catch (error) {
        expect(error).toMatchObject({ kind: 'REPLICA_UNAVAILABLE' })
      }
    }),
    { numRuns: 2000 },
  )
})

describe('a bad line', () => {
  const GOOD = '# TYPE ok counter\nok 1\n'
  const HISTOGRAM = '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'

  test.for<[what: string, text: string, left: readonly string[], malformed: number, message: RegExp]>([
    ['with a wrong escape', String.raw`a{x="\t"} 1` + '\na{x="2"} 2\n', ['a', 'ok'], 1, /line 1, column 7/],
    ['with no number', 'a one\n', ['ok'], 1, /line 1, column 3: expected a number/],
    ['with a name that is none', 'a 1\n1b 2\n', ['a', 'ok'], 1, /line 2, column 1/],
    ['of a histogram', HISTOGRAM.replace('"1"} 1', '"1"} x'), ['ok'], 4, /line 2/],
    ['without a name in a histogram', HISTOGRAM.replace('h_sum', '!'), ['ok'], 4, /line 4/],
    ['that is an unknown TYPE', HISTOGRAM.replace('histogram', 'histo'), ['ok'], 5, /line 1.*a type/],
    ['that is a second TYPE', `${HISTOGRAM}# TYPE h counter\n`, ['ok'], 5, /one TYPE a name/],
    ['that is a second HELP', '# HELP a x\n# HELP a y\na 1\n', ['a', 'ok'], 1, /one HELP a name/],
    ['with a carriage return', 'a 1\r\n', ['ok'], 1, /column 3: expected a number/],
  ])('%s is left out with what it puts in doubt, counted and told', ([, body, left, malformed, message]) => {
    const read = readExposition(body + GOOD)
    expect(read.families.map(({ name }) => name)).toEqual(left)
    expect(read.malformed).toBe(malformed)
    expect(read.fault?.message).toMatch(message)
  })

  test.for<[what: string, text: string, message: RegExp]>([
    ['a cut body', `${GOOD}a 1`, /expected a newline/],
    ['a cut line', `${GOOD}a{x="1`, /closing "/],
    ['a raw newline in a label', `${GOOD}a{x="1\nb 2\nc"} 1\n`, /line 3, column 7: expected a closing "/],
    ['no good line', '<html>\n<p>\n', /line 1/],
    ['a hundred bad lines and one', GOOD + '! 1\n'.repeat(101), /line 3/],
  ])('that is %s puts all in doubt', ([, body, message]) => {
    expect(() => readExposition(body)).toThrow(message)
  })

  test('is found in no good exposition', () => {
    const read = readExposition(GOOD + HISTOGRAM)
    expect(read).toEqual({
      families: parseExposition(GOOD + HISTOGRAM),
      fault: undefined,
      malformed: 0,
      shed: 0,
    })
  })
})
