/**
 * Fifty thousand names that no table has, asked of one gateway process (gateway.md 15 item 4, R-13,
 * O-1): each is looked up once, and neither memory nor metrics grow with them.
 */
import t from 'tap'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { decodeResult } from '../../cluster/protocol/frame.ts'
import { FrameClient, queryFrame } from '../support/gateway-world.ts'
import { startGatewayProcess } from '../support/gateway-outside.ts'

t.setTimeout(180_000)

const names = 50_000
const connections = 8
const window = 32
const growthMiBMax = 200

void t.test(`${names} unknown names`, async (t) => {
  const gateway = await startGatewayProcess(t.testdir(), { 'routing.lookupTimeoutMs': '10000' })
  t.teardown(() => gateway.stop())
  const reads = async (): Promise<number> => gateway.metric(/^gateway_zk_reads_total/)
  const readsAtRest = await reads()
  const atRestMiB = gateway.residentMiB()
  const answers = new Map<string, number>()
  /** Each name is asked twice, one query behind the other. */
  const ask = async (first: number): Promise<void> => {
    const client = await FrameClient.dial(gateway.port)
    for (let at = first; at < names; at += connections * window) {
      const queries = Array.from({ length: window }, (_, index) => at + index * connections)
        .filter((number) => number < names)
        .map((number) => queryFrame(`unknown-${number}`))
      client.send(Buffer.concat([...queries, ...queries]))
      const replies = await client.received(queries.length * 2)
      for (const { result } of replies) {
        const { err } = decodeResult(QueryCfgResponse, result)
        answers.set(err, (answers.get(err) ?? 0) + 1)
      }
      client.replies.length = 0
    }
    client.destroy()
  }
  await Promise.all(Array.from({ length: connections }, (_, index) => ask(index)))
  t.same([...answers], [['ERR_OBJECT_NOT_FOUND', names * 2]])
  const read = (await reads()) - readsAtRest
  // A look that finds no node, and one that leaves the watch for its creation.
  t.equal(read, names * 2, 'each name was looked up once')
  t.equal(await gateway.metric(/^gateway_route_cache_entries\{.*"negative"/), 10_000, 'the limit')
  const series = await gateway.metric(/^client_query_config_count\{.*unknown-/)
  t.equal(series, -1, 'no name became a label')
  t.ok((await gateway.metric(/^client_query_config_count\{.*__unknown__/)) >= names * 2)
  const grown = gateway.residentMiB() - atRestMiB
  t.ok(grown < growthMiBMax, `memory grew by ${grown.toFixed(0)} MiB`)
  t.ok(await gateway.serves())
  t.equal(await gateway.stop(), 0)
})
