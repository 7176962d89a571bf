import { describe, expect, test } from 'vitest'
import { parseExposition } from '../../src/metrics/parse.ts'
import { mergeFamilies, relabel } from '../../src/metrics/relabel.ts'
import { renderExposition } from '../../src/metrics/render.ts'
import type { FamilyType, Label } from '../../src/metrics/family.ts'

const ADDED: readonly Label[] = [
  ['pool_id', 'p'],
  ['replica_id', 'r'],
]

describe('labels', () => {
  test.for<[what: string, labels: readonly Label[], expected: readonly Label[]]>([
    ['none there', [], []],
    [
      'others stay behind ours, in their order',
      [
        ['method', 'decode'],
        ['le', '1'],
      ],
      [
        ['method', 'decode'],
        ['le', '1'],
      ],
    ],
    ['one of the same name is exported', [['pool_id', 'x']], [['exported_pool_id', 'x']]],
    [
      'a name that is taken as well is exported again',
      [
        ['pool_id', 'x'],
        ['exported_pool_id', 'y'],
        ['replica_id', 'z'],
      ],
      [
        ['exported_exported_pool_id', 'x'],
        ['exported_pool_id', 'y'],
        ['exported_replica_id', 'z'],
      ],
    ],
  ])('%s', ([, labels, expected]) => {
    expect(relabel(labels, ADDED)).toEqual([...ADDED, ...expected])
  })
})

/** Merges expositions as those of replicas r0, r1, …. */
function merge(texts: readonly string[], taken?: ReadonlyMap<string, FamilyType>) {
  const sources = texts.map((text, index) => ({
    families: parseExposition(text),
    labels: [['replica_id', `r${index}`] as const],
  }))
  const { families, dropped } = mergeFamilies(sources, taken)
  return { text: renderExposition(families), dropped }
}

const NONE = { type: 0, reserved: 0, duplicate: 0, malformed: 0, limit: 0 }

describe('many expositions', () => {
  test('become one, with each family once', () => {
    const { text, dropped } = merge([
      '# HELP a first\n# TYPE a counter\na 1\n\n# TYPE b gauge\nb{x="1"} 2\n',
      '# TYPE b gauge\nb{x="1"} 3\n\n# HELP a second\n# TYPE a counter\na 4 5\n',
    ])
    expect(text).toBe(
      '# HELP a first\n# TYPE a counter\na{replica_id="r0"} 1\na{replica_id="r1"} 4 5\n' +
        '# TYPE b gauge\nb{replica_id="r0",x="1"} 2\nb{replica_id="r1",x="1"} 3\n',
    )
    expect(dropped).toEqual([NONE, NONE])
  })

  test('have the HELP of the first that tells one', () => {
    expect(merge(['# TYPE a gauge\na 1\n', '# HELP a told\n# TYPE a gauge\na 1\n']).text).toContain(
      '# HELP a told\n',
    )
  })

  test('that disagree about a TYPE keep that of the first, and the rest of the other', () => {
    const { text, dropped } = merge([
      '# TYPE s summary\ns{quantile="0"} 1\ns_sum 1\ns_count 1\n',
      '# TYPE s histogram\ns_bucket{le="+Inf"} 1\ns_sum 1\ns_count 1\n# TYPE a gauge\na 1\n',
      '# TYPE s summary\ns{quantile="0"} 2\ns_sum 2\ns_count 2\n',
    ])
    expect(text).toBe(
      '# TYPE s summary\n' +
        's{replica_id="r0",quantile="0"} 1\ns_sum{replica_id="r0"} 1\ns_count{replica_id="r0"} 1\n' +
        's{replica_id="r2",quantile="0"} 2\ns_sum{replica_id="r2"} 2\ns_count{replica_id="r2"} 2\n' +
        '# TYPE a gauge\na{replica_id="r1"} 1\n',
    )
    expect(dropped).toEqual([NONE, { ...NONE, type: 3 }, NONE])
  })

  test('bow to a TYPE that is decided already', () => {
    const { text, dropped } = merge(
      ['# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n'],
      new Map([
        ['a', 'counter'],
        ['b', 'gauge'],
      ] as const),
    )
    expect(text).toBe('# TYPE b gauge\nb{replica_id="r0"} 1\n')
    expect(dropped).toEqual([{ ...NONE, type: 1 }])
  })

  test('cannot bring families under our names', () => {
    const { text, dropped } = merge(['# TYPE tgi_pool_jobs gauge\ntgi_pool_jobs 1\ntgi_pool_x 2\n'])
    expect(text).toBe('')
    expect(dropped).toEqual([{ ...NONE, reserved: 2 }])
  })

  test('keep the first of a series that one tells twice, whatever the order of its labels', () => {
    const { text, dropped } = merge([
      'a{x="1",y="2"} 1\na{y="2",x="1"} 2\na{x="1",y="2",z=""} 3\na{x="2",y="1"} 4\n',
    ])
    expect(text).toBe(
      '# TYPE a untyped\na{replica_id="r0",x="1",y="2"} 1\na{replica_id="r0",x="2",y="1"} 4\n',
    )
    expect(dropped).toEqual([{ ...NONE, duplicate: 2 }])
  })

  test('keep the first of two series that relabelling makes one', () => {
    const sources = [
      {
        families: parseExposition('a{pool_id="x"} 1\na{exported_pool_id="x"} 2\n'),
        labels: [['pool_id', 'p']] as const,
      },
    ]
    const { families, dropped } = mergeFamilies(sources)
    expect(renderExposition(families)).toBe('# TYPE a untyped\na{pool_id="p",exported_pool_id="x"} 1\n')
    expect(dropped).toEqual([{ ...NONE, duplicate: 1 }])
  })

  test.for([
    ['# TYPE x_count counter\nx_count 1\n', '# TYPE x histogram\nx_bucket{le="+Inf"} 1\nx_count 1\n', 2],
    ['# TYPE x histogram\nx_sum 1\n', '# TYPE x_count counter\nx_count 1\n', 1],
    ['# TYPE x summary\nx_sum 1\n', '# TYPE x_sum gauge\nx_sum 1\n', 1],
  ] as const)(
    'that disagree whether a name is a part of another keep the first: %j, %j',
    ([first, second, count]) => {
      const { text, dropped } = merge([first, second])
      expect(text).toBe(merge([first]).text)
      expect(dropped).toEqual([NONE, { ...NONE, type: count }])
    },
  )

  test('have a summary x and an x_bucket, which is none of its parts', () => {
    const texts = ['# TYPE x summary\nx_sum 1\n', '# TYPE x_bucket gauge\nx_bucket 1\n']
    expect(merge(texts).dropped).toEqual([NONE, NONE])
  })
})
