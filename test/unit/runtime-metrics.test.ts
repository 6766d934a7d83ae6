/** Metrics: exposition, labels for everybody, and the limits that a scanner runs into (gateway.md O-1). */
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { Metrics } from '../../cluster/runtime/metrics.ts'

const seriesOf = (text: string): string[] =>
  text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

void t.test('every series gets the constant labels, and its own win', async (t) => {
  const metrics = new Metrics()
  metrics.setLabels({ region: 'r', table: 'never' })
  metrics.counter('a_total', 'A.', { table: 't' }).add(2)
  metrics.gauge('g', 'G.', () => 1)
  const text = await metrics.text()
  t.match(text, /^a_total\{table="t",region="r"\} 2$/m)
  t.match(text, /^g\{region="r",table="never"\} 1$/m)
  t.end()
})

void t.test(
  'counters by label values are one object each, and the name is there from the start',
  async (t) => {
    const metrics = new Metrics()
    const by = metrics.counters('b_total', 'B.', 'x', 'y')
    t.match(await metrics.text(), /# HELP b_total B\.\n# TYPE b_total counter\n/)
    by('1', '2').add()
    t.equal(by('1', '2'), by('1', '2'))
    by('1', '2').add()
    by('1,', '2').add()
    t.equal(metrics.counter('b_total', 'B.', { y: '2', x: '1' }).value(), 2, 'the same series')
    t.match(await metrics.text(), /^b_total\{x="1,",y="2"\} 1$/m)
    t.end()
  },
)

void t.test(
  'O-1: no names from outside make more than the limits, and nothing is lost in the sum',
  async (t) => {
    const metrics = new Metrics()
    const families = Array.from({ length: 10 }, (_, f) =>
      metrics.counters(`c${f}_total`, 'C.', 'name'),
    )
    for (const by of families) for (let n = 0; n < 3000; n++) by(`name-${n}`).add()
    metrics.gauge('wide', 'W.', () =>
      Array.from({ length: 20_000 }, (_, n) => ({ labels: { n: String(n) }, value: n })),
    )
    for (let n = 0; n < 300; n++) metrics.histogram('h', 'H.', [1, 2], { n: String(n) }).observe(1)
    for (let scrape = 0; scrape < 2; scrape++) {
      const series = seriesOf(await metrics.text())
      t.ok(series.length <= 5000, `${series.length} series`)
      t.ok(series.length > 4000, 'the limit is used')
      const first = series.filter((line) => line.startsWith('c0_total'))
      t.equal(first.length, 1001)
      const sum = first.reduce((total, line) => total + Number(line.split(' ').at(-1)), 0)
      t.equal(sum, 3000)
      t.ok(first.some((line) => line === 'c0_total{name="__other__"} 2000'))
    }
    t.end()
  },
)

void t.test(
  'each reader of the event loop is told its longest delay since it read last',
  async (t) => {
    const metrics = new Metrics()
    const delays = metrics.eventLoopLag('lag_seconds', 'L.')
    const one = delays.reader()
    // Beside the ticks of a busy machine a second stands out.
    const blocked = 1
    await setTimeout(50)
    const until = performance.now() + blocked * 1000
    while (performance.now() < until);
    await setTimeout(50)
    const late = (seconds: number): boolean => seconds > blocked / 2
    t.ok(late(Number(/^lag_seconds (\S+)$/m.exec(await metrics.text())?.[1])))
    t.ok(late(one()), 'the scrape took nothing from others')
    t.notOk(late(one()), 'and it is told once')
    t.notOk(late(delays.reader()()), 'a later reader hears of what comes')
  },
)

void t.test('a histogram tells how many values each bucket has', (t) => {
  const histogram = new Metrics().histogram('h', 'H.', [1, 2])
  for (const value of [0.5, 1, 1.5, 3, 4]) histogram.observe(value)
  t.same(histogram.counts(), [2, 1, 2])
  t.end()
})
