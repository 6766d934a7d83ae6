/**
 * Several processes' Prometheus texts as one (gateway.md O-2): counters and histograms are summed,
 * gauges summed or, where a sum would mean nothing, the largest one taken. What processes counted
 * that have ended stays in the sums, because a counter may never fall. Pure but for that memory.
 */

interface Family {
  readonly help: string
  readonly type: string
  /** By the series as it stands in the text, such as `a_total{b="c"}`. */
  readonly series: Map<string, number>
}

type Families = Map<string, Family>

/** Gauges of which the largest is the one to look at; all others are summed. */
const largestOf: readonly RegExp[] = [
  /lag/,
  /_(epoch|level|info|connected|leader|state|invalid|limit|ratio)$/,
  /staleness/,
  /^process_(start_time_seconds|max_fds)$/,
  /^dr_/,
]

export class MetricTotals {
  /** Counters and histograms of processes that have ended. */
  #ended: Families = new Map()

  /** The last text of a process that has ended. */
  retire(text: string): void {
    const counted = parse(text)
    for (const [name, { type }] of counted)
      if (type !== 'counter' && type !== 'histogram') counted.delete(name)
    this.#ended = mergeFamilies([this.#ended, counted])
  }

  merge(texts: readonly string[]): string {
    return format(mergeFamilies([...texts.map(parse), this.#ended]))
  }
}

function parse(text: string): Families {
  const families: Families = new Map()
  const helps = new Map<string, string>()
  let series: Map<string, number> | undefined
  for (const line of text.split('\n')) {
    const [, keyword, name, rest = ''] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? []
    if (name !== undefined && keyword === 'HELP') helps.set(name, rest)
    else if (name !== undefined) {
      series = new Map()
      families.set(name, { help: helps.get(name) ?? '', type: rest, series })
    } else if (line !== '' && !line.startsWith('#')) {
      const at = line.lastIndexOf(' ')
      series?.set(line.slice(0, at), parseNumber(line.slice(at + 1)))
    }
  }
  return families
}

function mergeFamilies(all: readonly Families[]): Families {
  const merged: Families = new Map()
  for (const families of all)
    for (const [name, { help, type, series }] of families) {
      let family = merged.get(name)
      if (family === undefined) {
        family = { help, type, series: new Map() }
        merged.set(name, family)
      }
      const isLargest = type === 'gauge' && largestOf.some((pattern) => pattern.test(name))
      for (const [key, value] of series) {
        const known = family.series.get(key)
        const both =
          known === undefined ? value : isLargest ? Math.max(known, value) : known + value
        family.series.set(key, both)
      }
    }
  return merged
}

function format(families: Families): string {
  const blocks = [...families].flatMap(([name, { help, type, series }]) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...[...series].map(([key, value]) => `${key} ${formatNumber(value)}`),
  ])
  return blocks.length === 0 ? '' : `${blocks.join('\n')}\n`
}

function parseNumber(word: string): number {
  if (word === '+Inf') return Infinity
  return word === '-Inf' ? -Infinity : Number(word)
}

function formatNumber(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (value === Infinity) return '+Inf'
  return value === -Infinity ? '-Inf' : String(value)
}
