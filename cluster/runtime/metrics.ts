/**
 * What a process counts, exposed as Prometheus text by prom-client. On the hot path there are plain
 * numbers of ours (an add costs some nanoseconds, prom-client's labelled update hundreds); they are
 * read when somebody asks for the text.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Registry, collectDefaultMetrics, type Metric } from 'prom-client'

export type Labels = Readonly<Record<string, string>>

export interface MetricCounter {
  /** `amount` 0 or more, 1 when left out. */
  readonly add: (amount?: number) => void
  readonly value: () => number
}

export interface MetricHistogram {
  readonly observe: (value: number) => void
  /** One number for each bound, and a last one for values above all of them; not cumulative. */
  readonly counts: () => readonly number[]
}

export type GaugeReading = number | readonly { readonly labels: Labels; readonly value: number }[]

/**
 * Series of one name, and lines of all names: whoever sends made-up names must not blow up memory or
 * the scrape. What comes beyond is counted under the label values `__other__`, gauges are cut off.
 */
const seriesOfNameMax = 1000
const linesMax = 4800
/** For histograms: their sum and count, and the bucket above all bounds. */
const histogramExtraLines = 3

interface Sample {
  readonly metricName?: string
  readonly labels: Labels
  readonly value: number
}

/** One object each, without closures: of a thousand tables every further one would be cold memory. */
class CounterSeries implements MetricCounter {
  readonly labels: Labels
  #value = 0

  constructor(labels: Labels) {
    this.labels = labels
  }

  add(amount = 1): void {
    this.#value += amount
  }

  value(): number {
    return this.#value
  }

  sample(): Sample {
    return { labels: this.labels, value: this.#value }
  }
}

interface HistogramSeries {
  readonly labels: Labels
  /** One per bound, the last one for values above all bounds; not cumulative. */
  readonly counts: Float64Array
  sum: number
}

const LOOP_RESOLUTION_MS = 10

/** The longest delay of the event loop, in seconds; each reader gets that since it read last. */
export class LoopDelays {
  readonly #delays = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  readonly #readers = new Set<{ longest: number }>()

  constructor() {
    this.#delays.enable()
  }

  reader(): () => number {
    const own = { longest: 0 }
    this.#readers.add(own)
    return () => {
      this.#take()
      const { longest } = own
      own.longest = 0
      return longest
    }
  }

  #take(): void {
    // What it measures is the time between two ticks; nothing yet reads as 0.
    const longest = Math.max(0, this.#delays.max / 1e9 - LOOP_RESOLUTION_MS / 1e3)
    this.#delays.reset()
    for (const reader of this.#readers) reader.longest = Math.max(reader.longest, longest)
  }
}

type MetricType = 'counter' | 'gauge' | 'histogram'

export class Metrics {
  readonly #registry = new Registry()
  readonly #counters = new Map<string, Map<string, CounterSeries>>()
  readonly #histograms = new Map<string, Map<string, HistogramSeries>>()
  #lines = 0
  /** Of what is read for the scrape that runs. */
  #readLines = 0

  /** Labels that every series gets; one of a series' own names wins. */
  setLabels(labels: Labels): void {
    this.#registry.setDefaultLabels(labels)
  }

  /** The same name and labels give the same counter. */
  counter(name: string, help: string, labels: Labels = {}): MetricCounter {
    let family = this.#counters.get(name)
    if (family === undefined) {
      const added = new Map<string, CounterSeries>()
      this.#counters.set(name, (family = added))
      this.#expose(name, help, 'counter', () => [...added.values()].map((one) => one.sample()))
    }
    return this.#seriesOf(family, labels, 1, (given) => new CounterSeries(given))
  }

  /**
   * Counters of one name by the values of their labels, found again without making anything. The
   * name is exposed from now on, also while nothing was counted.
   */
  counters(
    name: string,
    help: string,
    ...labelNames: readonly string[]
  ): (...values: readonly string[]) => MetricCounter {
    const known = new Map<string, MetricCounter>()
    if (!this.#counters.has(name)) {
      const family = new Map<string, CounterSeries>()
      this.#counters.set(name, family)
      this.#expose(name, help, 'counter', () => [...family.values()].map((one) => one.sample()))
    }
    return (...values) => {
      const key = values.length === 1 ? (values[0] ?? '') : JSON.stringify(values)
      let counter = known.get(key)
      if (counter === undefined) {
        const labels = labelNames.map((label, at) => [label, values[at] ?? ''] as const)
        counter = this.counter(name, help, Object.fromEntries(labels))
        if (known.size < seriesOfNameMax) known.set(key, counter)
      }
      return counter
    }
  }

  /** `read` is called for each scrape; it answers one number or one per label set. */
  gauge(name: string, help: string, read: () => GaugeReading): void {
    this.#read(name, help, 'gauge', read)
  }

  /** Counters that are kept elsewhere: like a gauge, of values that never fall. */
  totals(name: string, help: string, read: () => GaugeReading): void {
    this.#read(name, help, 'counter', read)
  }

  /**
   * `buckets` are rising upper bounds, in the unit that the name ends with. The same name and
   * labels give the same histogram; all of one name have the buckets of the first call.
   */
  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labels: Labels = {},
  ): MetricHistogram {
    let family = this.#histograms.get(name)
    if (family === undefined) {
      const added = new Map<string, HistogramSeries>()
      this.#histograms.set(name, (family = added))
      this.#expose(name, help, 'histogram', () =>
        [...added.values()].flatMap((series) => histogramSamples(name, buckets, series)),
      )
    }
    const lines = buckets.length + histogramExtraLines
    const series = this.#seriesOf(family, labels, lines, (given) => ({
      labels: given,
      counts: new Float64Array(buckets.length + 1),
      sum: 0,
    }))
    const last = buckets.length
    return {
      observe: (value) => {
        let at = 0
        while (at < last && value > (buckets[at] ?? 0)) at++
        series.counts[at] = (series.counts[at] ?? 0) + 1
        series.sum += value
      },
      counts: () => [...series.counts],
    }
  }

  /** A gauge: the longest delay of the event loop since the gauge was read last, in seconds. */
  eventLoopLag(name: string, help: string): LoopDelays {
    const delays = new LoopDelays()
    this.gauge(name, help, delays.reader())
    return delays
  }

  /** Memory, CPU, event loop and garbage collection of this process. Not for the simulation. */
  collectProcess(): void {
    collectDefaultMetrics({ register: this.#registry })
  }

  async text(): Promise<string> {
    this.#readLines = 0
    return this.#registry.metrics()
  }

  #read(name: string, help: string, type: MetricType, read: () => GaugeReading): void {
    this.#expose(name, help, type, () => {
      const reading = read()
      if (typeof reading === 'number') return [{ labels: {}, value: reading }]
      const room = Math.max(0, linesMax - this.#lines - this.#readLines)
      const shown = reading.slice(0, Math.min(seriesOfNameMax, room))
      this.#readLines += shown.length
      return shown
    })
  }

  #seriesOf<S>(
    family: Map<string, S>,
    labels: Labels,
    lines: number,
    make: (labels: Labels) => S,
  ): S {
    const key = keyOf(labels)
    const known = family.get(key)
    if (known !== undefined) return known
    if (family.size >= seriesOfNameMax || this.#lines + lines > linesMax) {
      const other = Object.fromEntries(Object.keys(labels).map((label) => [label, '__other__']))
      const otherKey = keyOf(other)
      const overflow = family.get(otherKey) ?? make(other)
      family.set(otherKey, overflow)
      return overflow
    }
    this.#lines += lines
    const made = make(labels)
    family.set(key, made)
    return made
  }

  /** The registry needs of a metric only its name and `get`; a second one of a name is refused. */
  #expose(name: string, help: string, type: MetricType, read: () => readonly Sample[]): void {
    const metric = {
      name,
      get: async () => ({ name, help, type, aggregator: 'sum', values: read() }),
    }
    this.#registry.registerMetric(metric as unknown as Metric)
  }
}

function keyOf(labels: Labels): string {
  return JSON.stringify(
    Object.keys(labels)
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map((label) => [label, labels[label]]),
  )
}

function histogramSamples(
  name: string,
  buckets: readonly number[],
  series: HistogramSeries,
): Sample[] {
  const metricName = `${name}_bucket`
  let below = 0
  const samples: Sample[] = [...series.counts].map((count, at) => {
    below += count
    const bound = buckets[at]
    const le = bound === undefined ? '+Inf' : String(bound)
    return { metricName, labels: { ...series.labels, le }, value: below }
  })
  return [
    ...samples,
    { metricName: `${name}_sum`, labels: series.labels, value: series.sum },
    { metricName: `${name}_count`, labels: series.labels, value: below },
  ]
}
