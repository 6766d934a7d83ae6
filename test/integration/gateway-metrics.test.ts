/**
 * What a running gateway exposes (gateway.md 12): every name with its type, labels and help, and no
 * more series than the limit, whatever clients ask for (O-1).
 */
import t from 'tap'
import { startFakeMeta } from '../support/fake-meta.ts'
import { metricFamilies } from '../support/metric-families.ts'
import { FrameClient, queryFrame, startWorld, until } from '../support/gateway-world.ts'

t.setTimeout(120_000)

/** Section 12 without what the DR switch and automatic failover add. */
const expected: readonly (readonly [name: string, type: string, ...labels: string[]])[] = [
  ['client_connection_count', 'gauge'],
  ['zk_request_count', 'counter', 'table'],
  ['client_query_config_count', 'counter', 'table'],
  ['gateway_request_duration_seconds', 'histogram', 'result'],
  ['gateway_requests_total', 'counter', 'rpc', 'result', 'header_version'],
  ['gateway_inflight', 'gauge'],
  ['gateway_frames_rejected_total', 'counter', 'reason'],
  ['gateway_bytes_total', 'counter', 'dir'],
  ['gateway_connections_rejected_total', 'counter', 'reason'],
  ['gateway_route_cache_entries', 'gauge', 'kind'],
  ['gateway_route_lookups_total', 'counter', 'result'],
  ['gateway_mapping_invalid', 'gauge', 'table'],
  ['gateway_routing_epoch', 'gauge'],
  ['gateway_route_staleness_seconds', 'gauge'],
  ['gateway_zk_connected', 'gauge'],
  ['gateway_zk_session_expired_total', 'counter'],
  ['gateway_zk_missed_watch_total', 'counter'],
  ['gateway_zk_watches', 'gauge', 'kind'],
  ['gateway_coalesced_total', 'counter'],
  ['gateway_meta_requests_total', 'counter', 'cluster', 'addr', 'result'],
  ['gateway_meta_request_duration_seconds', 'histogram', 'cluster'],
  ['gateway_meta_leader', 'gauge', 'cluster', 'addr'],
  ['gateway_breaker_state', 'gauge', 'addr'],
  ['gateway_meta_forward_followed_total', 'counter'],
  ['gateway_meta_hedges_total', 'counter'],
]

void t.test('every name of section 12 is exposed, with its type, labels and help', async (t) => {
  const world = await startWorld()
  const meta = await startFakeMeta(() => ({ error: 'ERR_OK' }))
  t.teardown(async () => {
    await world.close()
    await meta.close()
  })
  await world.map('temp', [meta.address])
  await world.editor.create('/metaproxy/tables/broken', Buffer.from('{'))
  const client = await world.client()
  for (const table of ['temp', 'none', 'broken']) await client.query(table)
  client.send(queryFrame('temp', { version: 1 }))
  await client.received(4)
  const garbage = await FrameClient.dial(world.gateway.port)
  garbage.send(Buffer.from('garbage at the start of a connection, long enough for a header'))
  await until(() => garbage.hasEnded)
  garbage.destroy()
  const families = metricFamilies(await world.metrics.text())
  for (const [name, type, ...labels] of expected) {
    const family = families.get(name)
    t.equal(family?.type, type, `${name} is a ${type}`)
    const found = [...(family?.labels ?? [])].filter((label) => label !== 'le')
    t.same(found.toSorted(), labels.toSorted(), `${name} has the labels ${labels.join(', ')}`)
  }
  for (const [name, { help, type }] of families) {
    t.ok(help.length > 2, `${name} has help`)
    t.not(type, '', `${name} has a type`)
  }
  const text = await world.metrics.text()
  const query = 'rpc="RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX"'
  t.match(text, `gateway_requests_total{${query},result="relayed",header_version="0"} 1\n`)
  t.match(text, `gateway_requests_total{${query},result="relayed",header_version="1"} 1\n`)
  t.match(text, `gateway_requests_total{${query},result="invalid-mapping",header_version="0"} 1\n`)
  t.match(text, 'gateway_request_duration_seconds_count{result="no-table"} 1\n')
  t.match(text, 'client_query_config_count{table="__unknown__"} 2\n')
  t.match(text, 'gateway_mapping_invalid{table="broken"} 1\n')
  t.match(text, 'gateway_frames_rejected_total{reason="bad-magic"} 1\n')
})

void t.test(
  'O-1: names that no mapping has make no series, mapped ones up to a limit',
  async (t) => {
    const world = await startWorld({ 'routing.negativeCache': '100' })
    t.teardown(() => world.close())
    const client = await world.client()
    const ask = async (tables: readonly string[]): Promise<void> => {
      const before = client.replies.length
      for (const table of tables) client.send(queryFrame(table))
      await client.received(before + tables.length)
    }
    const lines = async (): Promise<number> =>
      (await world.metrics.text()).split('\n').filter((line) => /^[a-z]/.test(line)).length
    await ask(['none'])
    const before = await lines()
    for (let at = 0; at < 2000; at += 100)
      await ask(Array.from({ length: 100 }, (_, n) => `scanned-${at + n}`))
    t.equal(await lines(), before, 'a scanner adds no series')
    const mapped = Array.from({ length: 700 }, (_, n) => `mapped-${n}`)
    await Promise.all(mapped.map((table) => world.map(table, ['127.0.0.1:1'])))
    // Mapped to nobody: answered with an error, and counted all the same.
    for (let at = 0; at < mapped.length; at += 100) await ask(mapped.slice(at, at + 100))
    await until(async () => (await lines()) > before + 500)
    t.ok((await lines()) < 5000)
    t.match(await world.metrics.text(), /client_query_config_count\{table="__other__"\} 200\n/)
  },
)
