/**
 * The dashboard and the alert rules beside the chart (gateway.md 12) name only metrics, labels and label
 * values that a running gateway exposes. The gateway is the built program with two workers.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { TableView } from '../../gateway/table-view.ts'
import { startFakeMeta } from '../support/fake-meta.ts'
import { startGatewayCommand } from '../support/gateway-command.ts'
import { FrameClient, until } from '../support/gateway-world.ts'
import { metricFamilies, type MetricFamily } from '../support/metric-families.ts'
import { parsePromql } from '../support/promql.ts'

t.setTimeout(180_000)
const dashboardFile = 'charts/metaproxy/dashboards/gateway.json'
const alertsFile = 'charts/metaproxy/alerts/gateway.yaml'
/** Prometheus itself adds these. */
const scrapeLabels = new Set(['job', 'instance'])

interface Panel {
  readonly title: string
  readonly type: string
  readonly description?: string
  readonly gridPos: {
    readonly x: number
    readonly y: number
    readonly w: number
    readonly h: number
  }
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
}
interface Dashboard {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string }[] }
}
interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: { readonly severity: string }
  readonly annotations: Readonly<Record<string, string>>
}

const dashboard = JSON.parse(readFileSync(dashboardFile, 'utf8')) as Dashboard
const alerts = parse(readFileSync(alertsFile, 'utf8')) as {
  readonly groups: readonly { readonly rules: readonly Rule[] }[]
}
const rules = alerts.groups.flatMap((group) => group.rules)

/** The text of a gateway that has served, failed, refused and lost something. */
async function exposition(t: Test): Promise<string> {
  const folder = t.testdir({ zookeeper: {} })
  const runtime = nodeRuntime({ log: silentLog })
  const zookeeper = await startEmbeddedZooKeeper(runtime, {
    host: '127.0.0.1',
    port: 0,
    dataDirectory: join(folder, 'zookeeper'),
  })
  const servers = `127.0.0.1:${zookeeper.port}`
  const editor = connectZooKeeper(runtime, { servers, sessionTimeoutMs: 20_000, onExpiry: 'renew' })
  const meta = await startFakeMeta(() => ({ error: 'ERR_OK' }))
  const gateway = startGatewayCommand(
    ['--zookeeper.servers', servers, '--zookeeper.root', '/tables', '--workers', '2'].concat([
      '--rpc.host',
      '127.0.0.1',
      '--rpc.port',
      '0',
      '--http.port',
      '0',
    ]),
  )
  t.teardown(async () => {
    gateway.child.kill('SIGKILL')
    await gateway.ended
    await editor.close()
    await zookeeper.close()
    await meta.close()
  })
  await editor.create('/tables', Buffer.alloc(0))
  const map = (table: string, metas: readonly string[]): Promise<string> => {
    const data = Buffer.from(JSON.stringify({ cluster: 'c1', 'meta-addrs': metas }))
    return editor.create(`/tables/${table}`, data)
  }
  await map('temp', [meta.address])
  await map('dead', ['127.0.0.1:1'])
  await editor.create('/tables/broken', Buffer.from('{'))
  const port = Number((await gateway.told('rpc')).split(':')[1])
  const http = await gateway.told('http')
  await until(async () => (await gateway.get(http, '/readyz')).status === 200)
  const client = await FrameClient.dial(port)
  for (const table of ['temp', 'none', 'dead', 'broken']) await client.query(table)
  const garbage = await FrameClient.dial(port)
  garbage.send(Buffer.from('no request at all, but long enough to be looked at as one'))
  await until(() => garbage.hasEnded)
  garbage.destroy()
  const seen = async (): Promise<string> => (await gateway.get(http, '/metrics')).text
  await until(async () => /^gateway_frames_rejected_total\{.*\} 1$/m.test(await seen()))
  const text = await seen()
  const view = async (): Promise<TableView> =>
    JSON.parse((await gateway.get(http, '/debug/table/temp')).text) as TableView
  // It is ready with its first worker.
  await until(async () => (await view()).processes.length === 2)
  const debug = await view()
  t.match(debug, {
    routing: { path: '/tables/temp', answer: 'route', watch: 'set' },
    processes: [{ process: '1' }, { process: '2' }],
  })
  t.ok(
    debug.processes.some((one) => one.metas?.leader === meta.address),
    'O-5: the workers are asked what they do with the table',
  )
  client.destroy()
  return text
}

/** What is wrong with an expression, in words. */
function problemsOf(
  expression: string,
  families: ReadonlyMap<string, MetricFamily>,
  text: string,
): readonly string[] {
  const problems: string[] = []
  const { metrics, groupLabels } = parsePromql(expression)
  const labels = new Set<string>()
  for (const { name, matchers } of metrics) {
    const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ''))
    if (family === undefined) {
      problems.push(`${name} is not exposed`)
      continue
    }
    if (family.type === 'histogram' && !/_(bucket|sum|count)$/.test(name))
      problems.push(`${name} is a histogram`)
    for (const label of family.labels) labels.add(label)
    for (const { label, operator, value } of matchers) {
      if (scrapeLabels.has(label)) continue
      if (!family.labels.has(label)) problems.push(`${name} has no label ${label}`)
      const isSeen = (one: string): boolean =>
        new RegExp(`^${name}\\{.*${label}="${one}"`, 'm').test(text)
      for (const one of operator === '=~' ? value.split('|') : [value])
        if (!isSeen(one)) problems.push(`${name} is never seen with ${label}="${one}"`)
    }
  }
  for (const label of groupLabels)
    if (!labels.has(label) && !scrapeLabels.has(label))
      problems.push(`no metric of it has the label ${label}`)
  return problems
}

void t.test('dashboard and alerts name only what a running gateway exposes', async (t) => {
  const text = await exposition(t)
  const families = metricFamilies(text)
  t.ok(families.size > 40)
  // Those of section 12 that belong to the process; the others: gateway-metrics.test.ts.
  for (const [name, type] of [
    ['gateway_worker_restarts_total', 'counter'],
    ['gateway_eventloop_lag_seconds', 'gauge'],
    ['process_resident_memory_bytes', 'gauge'],
    ['process_cpu_seconds_total', 'counter'],
  ] as const)
    t.equal(families.get(name)?.type, type, name)
  for (const [name, { help }] of families) t.ok(help.length > 2, `${name} has help`)
  for (const { title, targets = [] } of dashboard.panels)
    for (const { expr, legendFormat } of targets) {
      t.same(problemsOf(expr, families, text), [], `${title}: ${expr}`)
      const { groupLabels } = parsePromql(expr)
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
        t.ok(groupLabels.includes(label), `${title}: the legend's ${label} is in the result`)
    }
  for (const { alert, expr, annotations } of rules) {
    t.same(problemsOf(expr, families, text), [], `${alert}: ${expr}`)
    const { groupLabels, metrics } = parsePromql(expr)
    const known = new Set([
      ...groupLabels,
      ...(groupLabels.length === 0 ? [...scrapeLabels] : []),
      ...metrics.flatMap(({ matchers }) => matchers.map(({ label }) => label)),
    ])
    for (const [, label = ''] of Object.values(annotations)
      .join()
      .matchAll(/\$labels\.(\w+)/g))
      t.ok(known.has(label), `${alert}: ${label} is in the result`)
  }
})

void t.test('every panel says what it shows and lies beside the others', (t) => {
  const taken = new Set<string>()
  for (const { title, type, description = '', targets = [], gridPos } of dashboard.panels) {
    t.ok(gridPos.x + gridPos.w <= 24, title)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        t.notOk(taken.has(`${x} ${y}`), `${title} overlaps nothing`)
        taken.add(`${x} ${y}`)
      }
    if (type === 'row') continue
    t.ok(description.length > 15 && targets.length > 0, title)
    for (const { expr } of targets)
      t.match(
        expr,
        /\{job=~"\$job",instance=~"\$instance"/,
        `${title} follows the choice of gateway`,
      )
  }
  t.same(
    dashboard.templating.list.map(({ name }) => name),
    ['datasource', 'job', 'instance'],
  )
  t.end()
})

void t.test('every alert says what it is, what it means and what to do first', (t) => {
  t.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length, 'names are unique')
  for (const { alert, labels, annotations, for: duration = '0m' } of rules) {
    t.match(labels.severity, /^(page|ticket)$/, alert)
    t.match(duration, /^\d+m$/, alert)
    t.same(Object.keys(annotations), ['summary', 'meaning', 'action'], alert)
    for (const text of Object.values(annotations)) t.ok(text.length > 20, `${alert}: ${text}`)
  }
  t.end()
})

void t.test('expressions that make no sense are found out', (t) => {
  for (const [expression, reason] of [
    ['sum(rate(a[5m])', /\) is missing/],
    ['sum(a))', /unexpected \)/],
    ['sume(a)', /unknown function sume/],
    ['a{b="c}', /not understood/],
    ['a{b=c}', /matcher of a/],
    ['sum by a', /by without a list/],
    ['5 > 4', /no metric/],
    ['', /empty/],
  ] as const)
    t.throws(() => parsePromql(expression), { message: reason }, expression)
  const text = '# HELP a_total A.\n# TYPE a_total counter\na_total{x="1"} 1\n'
  const families = metricFamilies(text)
  const found = (expression: string) => problemsOf(expression, families, text)
  t.same(found('sum by (x) (rate(a_total{x="1",job="j"}[5m])) / 2 > 0.1'), [])
  t.match(found('b_total'), [/b_total is not exposed/])
  t.match(found('a_total{y="1"}'), [/no label y/, /never seen/])
  t.match(found('a_total{x=~"1|2"}'), [/never seen with x="2"/])
  t.match(found('sum by (y) (a_total)'), [/label y/])
  t.end()
})
