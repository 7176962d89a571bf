/** A metric's labels. */
type Labels = Readonly<Record<string, string>>

/** A family of one registry, made on first use. */
interface Family {
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary'
  readonly help: string | undefined
  /** Series by their rendered labels. */
  readonly series: Map<string, Series>
  readonly bounds: readonly number[]
}

interface Series {
  value: number
  count: number
  readonly buckets: Float64Array
}

/** What is said once about a metric. */
export interface Description {
  readonly type: Family['type']
  readonly help?: string | undefined
  /** Upper bounds of a histogram's buckets, without +Inf. */
  readonly bounds?: readonly number[] | undefined
}

/** Numbers by name, as metrics-exporter-prometheus 0.15.3 keeps and tells them. */
export interface Registry {
  /** Adds to a counter, sets a gauge, or observes a value `times` times. An unknown name throws: a mistake in this room. */
  record(name: string, value: number, labels?: Labels, times?: number): void
  /**
   * The text of `/metrics`: families in random order, each with HELP (when there is one), TYPE, its series and a blank line.
   * A family nobody has used is not there.
   */
  render(random?: () => number): string
}

const QUANTILES = ['0', '0.5', '0.9', '0.95', '0.99', '0.999', '1']

/** A number as Rust prints an f64: never with an exponent. */
export function formatFloat64(value: number): string {
  const text = String(value)
  if (!text.includes('e')) return text
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d)\.?(\d*)e([+-]\d+)$/.exec(text) ?? []
  const digits = whole + fraction
  const point = Number(exponent) + 1
  return point > 0 ? sign + digits.padEnd(point, '0') : `${sign}0.${'0'.repeat(-point)}${digits}`
}

const braced = (labels: string, last = ''): string => {
  const all = [labels, last].filter((part) => part !== '').join()
  return all === '' ? '' : `{${all}}`
}

function histogramLines(name: string, labels: string, { bounds }: Family, series: Series): string[] {
  let sum = 0
  const lines = bounds.map((bound, index) => {
    sum += series.buckets[index] ?? 0
    return `${name}_bucket${braced(labels, `le="${formatFloat64(bound)}"`)} ${sum}`
  })
  return [...lines, `${name}_bucket${braced(labels, 'le="+Inf"')} ${series.count}`]
}

function seriesLines(name: string, labels: string, family: Family, series: Series): string[] {
  if (family.type === 'counter' || family.type === 'gauge') {
    return [`${name}${braced(labels)} ${formatFloat64(series.value)}`]
  }
  const lines =
    family.type === 'histogram'
      ? histogramLines(name, labels, family, series)
      : QUANTILES.map((quantile) => `${name}${braced(labels, `quantile="${quantile}"`)} 0`)
  const sum = `${name}_sum${braced(labels)} ${formatFloat64(series.value)}`
  return [...lines, sum, `${name}_count${braced(labels)} ${series.count}`]
}

function familyText(name: string, family: Family): string {
  const lines = family.help === undefined ? [] : [`# HELP ${name} ${family.help}`]
  lines.push(`# TYPE ${name} ${family.type}`)
  for (const [labels, series] of family.series) lines.push(...seriesLines(name, labels, family, series))
  return `${lines.join('\n')}\n\n`
}

/** An empty registry for the metrics described. A summary's values are taken to be 0, which is all the simulator has. */
export function createRegistry(descriptions: Readonly<Record<string, Description>>): Registry {
  const families = new Map<string, Family>()

  function familyOf(name: string): Family {
    const known = families.get(name)
    if (known !== undefined) return known
    const description = descriptions[name]
    if (description === undefined) throw new Error(`no metric is called ${name}`)
    const { type, help, bounds = [] } = description
    const family: Family = { type, help, bounds, series: new Map() }
    families.set(name, family)
    return family
  }

  function seriesOf(family: Family, labels: Labels): Series {
    const key = Object.entries(labels)
      .map(([label, value]) => `${label}="${value}"`)
      .join()
    let series = family.series.get(key)
    if (series === undefined) {
      series = { value: 0, count: 0, buckets: new Float64Array(family.bounds.length) }
      family.series.set(key, series)
    }
    return series
  }

  return {
    record(name, value, labels = {}, times = 1) {
      const family = familyOf(name)
      const series = seriesOf(family, labels)
      if (family.type === 'gauge') {
        series.value = value
        return
      }
      series.value += value * times
      series.count += times
      const bucket = family.bounds.findIndex((bound) => value <= bound)
      if (bucket >= 0) series.buckets[bucket] = (series.buckets[bucket] ?? 0) + times
    },
    render(random = Math.random) {
      return [...families]
        .map(([name, family]) => ({ place: random(), text: familyText(name, family) }))
        .toSorted((one, other) => one.place - other.place)
        .map(({ text }) => text)
        .join('')
    },
  }
}
