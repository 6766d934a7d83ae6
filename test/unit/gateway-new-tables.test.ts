/**
 * CREATE_APP on unmapped tables (gateway.md 6) without processes, sockets and ZooKeeper: what is done
 * with each answer on the way, the questions of a worker to its primary, and the configuration.
 */
import t from 'tap'
import { type ReplyFrame, ReplyFramer, encodeReply } from '../../cluster/protocol/frame.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { SimulatedWorld } from '../../cluster/runtime/simulated.ts'
import { type Call, type Outcome, errorIn } from '../../gateway/clients/rpc-outcome.ts'
import {
  CREATE,
  RpcPolicy,
  type TableRpc,
  rpcPolicyProblems,
} from '../../gateway/clients/rpc-policy.ts'
import type { RelayOutcome } from '../../gateway/clients/rpc-relay.ts'
import { TableCreation, zooKeeperMs } from '../../gateway/clients/table-creation.ts'
import { gatewayConfig } from '../../gateway/config.ts'
import { AskedNewTables } from '../../gateway/processes/asked-new-tables.ts'
import type { FromWorker } from '../../gateway/processes/messages.ts'
import { reloadOf } from '../../gateway/processes/reload.ts'
import { type MappingMade, type Placing, notPossible } from '../../gateway/routing/new-tables.ts'
import { testConfig } from '../support/gateway-world.ts'

function rpcOf(name: string): TableRpc {
  const judgement = new RpcPolicy([name]).judge(name, '')
  if (judgement.kind !== 'allowed') throw new Error(name)
  return judgement.rpc
}
const create = rpcOf(CREATE)
const runtime = nodeRuntime({ log: silentLog })
const metas = ['10.0.0.1:34601', '10.0.0.2:34601']
const meta = '10.0.0.1:34601'

/** The meta's frame with an error in its struct, or in its header. */
function replyOf(error: string, headerError = 'ERR_OK'): ReplyFrame {
  const framer = new ReplyFramer({ maxFrameBytes: 1 << 20 })
  const isPlain = headerError === 'ERR_OK'
  framer.push(encodeReply(CREATE, 1, headerError, isPlain ? create.resultOf(error) : undefined))
  const reply = framer.next()
  if (reply === undefined) throw new Error('no frame')
  return reply
}

interface Steps {
  readonly placing?: Placing
  readonly relayed?: RelayOutcome
  readonly made?: MappingMade
}

async function creates(steps: Steps): Promise<{
  readonly outcome: Outcome | 'mapped'
  readonly done: readonly string[]
  readonly call: Call
}> {
  const done: string[] = []
  const creation = new TableCreation(
    runtime,
    {
      newTables: {
        place: async (table, cluster) => {
          done.push(`place ${table} on ${cluster}`)
          return steps.placing ?? { kind: 'create', metas }
        },
        map: async (wish) => {
          done.push(`map ${wish.table} to ${wish.cluster} at ${wish.metas.join()} for ${wish.peer}`)
          return steps.made ?? { kind: 'mapped', isOurs: true }
        },
      },
      relay: {
        ask: async (request, target) => {
          done.push(`${request.name} ${request.isWrite} to ${target.leader} ${target.metas.join()}`)
          return steps.relayed ?? { kind: 'reply', reply: replyOf('ERR_OK'), meta }
        },
      },
      leaderOf: ({ cluster, group }) => `${cluster}/${group}`,
    },
    'c1',
  )
  const call: Call = {
    rpc: create,
    table: 'new',
    argument: Buffer.alloc(0),
    peer: '10.9.9.9:1234',
    deadlineMs: runtime.clock.monotonicMs() + 4000,
    cluster: undefined,
  }
  return { outcome: await creation.run(call), done, call }
}
const placed = 'place new on c1'
const asked = `${CREATE} true to c1/${metas.join()} ${metas.join()}`
const mapped = `map new to c1 at ${metas.join()} for 10.9.9.9:1234`

void t.test('create first, mapping second, and the meta answers the client', async (t) => {
  const { outcome, done, call } = await creates({})
  t.same(done, [placed, asked, mapped])
  t.match(outcome, { kind: 'relayed', meta, mapping: 'written' })
  t.equal(call.cluster, 'c1', 'for the audit')
  const others = await creates({ made: { kind: 'mapped', isOurs: false } })
  t.match(others.outcome, { kind: 'relayed', mapping: 'by others' })
})

void t.test('only a table that is there for sure is mapped', async (t) => {
  const cases: readonly (readonly [string, RelayOutcome, boolean])[] = [
    ['ERR_OK', { kind: 'reply', reply: replyOf('ERR_OK'), meta }, true],
    ['asked again', { kind: 'reply', reply: replyOf('ERR_APP_EXIST'), meta }, true],
    ['other options', { kind: 'reply', reply: replyOf('ERR_INVALID_PARAMETERS'), meta }, false],
    ['on its way', { kind: 'reply', reply: replyOf('ERR_BUSY_CREATING'), meta }, false],
    ['frozen', { kind: 'reply', reply: replyOf('ERR_STATE_FREEZED'), meta }, false],
    ['a header', { kind: 'reply', reply: replyOf('', 'ERR_HANDLER_NOT_FOUND'), meta }, false],
    ['time-out', { kind: 'unknown', meta, reason: 'no answer' }, false],
    ['nobody', { kind: 'unreachable' }, false],
  ]
  for (const [what, relayed, isMapped] of cases) {
    const { outcome, done } = await creates({ relayed })
    t.same(done, isMapped ? [placed, asked, mapped] : [placed, asked], what)
    if (outcome === 'mapped') throw new Error(what)
    if (relayed.kind === 'reply') {
      t.equal(outcome.kind === 'relayed' && outcome.reply, relayed.reply, `${what}: verbatim`)
      t.equal(outcome.kind === 'relayed' && outcome.mapping, isMapped ? 'written' : undefined)
    } else t.match(outcome, { kind: 'own', why: /^not mapped: / }, what)
  }
  const { outcome } = await creates({ relayed: { kind: 'unknown', meta, reason: 'silent' } })
  t.match(outcome, { result: 'outcome-unknown', why: /silent/ })
})

void t.test(
  'what cannot be placed is not created, and what cannot be mapped says so',
  async (t) => {
    const refusal = notPossible('no-cluster', 'cluster c1 is not in the registry')
    const unplaced = await creates({ placing: refusal })
    t.same(unplaced.done, [placed])
    t.match(unplaced.outcome, { result: 'no-cluster', why: `nothing created: ${refusal.why}` })
    t.equal((unplaced.outcome as { meta?: string }).meta, undefined)
    const known = await creates({ placing: { kind: 'mapped', isOurs: false } })
    t.same([known.outcome, known.done], ['mapped', [placed]], 'routed as any other table')
    const unmapped = await creates({ made: notPossible('unavailable', 'not connected') })
    t.match(unmapped.outcome, {
      kind: 'own',
      result: 'unavailable',
      why: 'on cluster c1 and not mapped: not connected',
      meta,
    })
  },
)

void t.test('only CREATE_APP, only names that can be mapped, only when configured', (t) => {
  const parts = {
    newTables: {
      place: async () => notPossible('busy', ''),
      map: async () => notPossible('busy', ''),
    },
    relay: { ask: async () => ({ kind: 'unreachable' }) as const },
    leaderOf: () => undefined,
  }
  const creation = new TableCreation(runtime, parts, 'c1')
  t.ok(creation.takes(create, 'new'))
  for (const name of ['', '.', '..', 'a/b', 'a\nb', 'x'.repeat(256)])
    t.notOk(creation.takes(create, name), JSON.stringify(name.slice(0, 10)))
  t.notOk(creation.takes(rpcOf('RPC_CM_DROP_APP'), 'new'))
  t.notOk(new TableCreation(runtime, parts, undefined).takes(create, 'new'))
  t.equal(zooKeeperMs(900), 300, 'the time there is is shared')
  t.equal(errorIn(create, replyOf('ERR_BUSY')), 'ERR_BUSY')
  t.end()
})

void t.test('a worker asks its primary: bounded, in time, and honest about silence', async (t) => {
  const world = new SimulatedWorld({ seed: 1 })
  const sent: FromWorker[] = []
  const node = world.node('worker', { ip: '10.0.0.1' }).runtime
  const newTables = new AskedNewTables(node, (message) => sent.push(message))
  const settle = async <T>(promise: Promise<T>): Promise<T> => {
    let isSettled = false
    void promise.then(() => (isSettled = true))
    await world.run({ untilMs: world.nowMs() + 60_000, until: () => isSettled })
    return promise
  }
  const placing = newTables.place('t', 'c1', 500)
  t.same(sent, [{ type: 'place-table', question: 1, budgetMs: 500, table: 't', cluster: 'c1' }])
  newTables.onAnswer(1, { kind: 'create', metas })
  t.same(await placing, { kind: 'create', metas })

  const wish = { table: 't', cluster: 'c1', metas, peer: '10.9.9.9:1' }
  const mapping = newTables.map(wish, 700)
  t.same(sent.at(-1), { type: 'map-table', question: 2, budgetMs: 700, wish })
  newTables.onAnswer(1, { kind: 'mapped', isOurs: false })
  newTables.onAnswer(2, { kind: 'mapped', isOurs: true })
  t.same(await mapping, { kind: 'mapped', isOurs: true }, 'each question has its own answer')

  const startedAtMs = world.nowMs()
  t.match(await settle(newTables.place('t', 'c1', 500)), { problem: 'unavailable' })
  const tookMs = world.nowMs() - startedAtMs
  t.ok(tookMs >= 500 && tookMs < 510, `${tookMs} ms`)
  t.match(await settle(newTables.map(wish, 500)), { problem: 'outcome-unknown' }, 'may be written')
  newTables.onAnswer(4, { kind: 'mapped', isOurs: true })

  const many = Array.from({ length: 70 }, () => newTables.place('t', 'c1', 60_000))
  t.equal(sent.length, 4 + 64)
  newTables.close()
  const kinds = (await settle(Promise.all(many))).map((one) =>
    one.kind === 'not-possible' ? one.problem : one.kind,
  )
  t.equal(kinds.filter((kind) => kind === 'busy').length, 6)
  t.equal(kinds.filter((kind) => kind === 'unavailable').length, 64, 'told at once')
  t.match(await newTables.map(wish, 500), { problem: 'unavailable' }, 'never asked: not unknown')
})

void t.test('the configuration: a cluster that nothing is ever created on is a mistake', (t) => {
  const problems = (allow: readonly string[], defaultCluster?: string): readonly string[] =>
    rpcPolicyProblems({ allow, defaultCluster })
  t.same(problems([]), [])
  t.same(problems([`${CREATE} from 10.0.0.0/8`], 'c1'), [])
  t.match(problems(['RPC_CM_DROP_APP'], 'c1'), [/rpcPolicy\.allow has RPC_CM_CREATE_APP/])
  const problem = (name: string): string => {
    const loaded = loadConfig(gatewayConfig, {
      environment: {},
      environmentPrefix: 'METAPROXY',
      flags: { 'zookeeper.servers': 'a:1', 'rpcPolicy.defaultCluster': name },
    })
    return loaded.ok ? '' : loaded.problems.join('\n')
  }
  for (const name of ['c1', 'c1.east:2', 'größe']) t.equal(problem(name), '', name)
  for (const name of ['..', 'a/b', 'a b', 'a\u0000', 'x'.repeat(256)])
    t.match(problem(name), /rpcPolicy\.defaultCluster: expected the name of a cluster/, name)
  const [old, next] = [testConfig(), testConfig({ 'rpcPolicy.defaultCluster': 'c2' })]
  t.same(reloadOf(gatewayConfig, old, next).changed, ['rpcPolicy.defaultCluster'])
  t.end()
})
