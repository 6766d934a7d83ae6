/**
 * Peer and server in the simulated world, through partitions, broken connections, crashes and a
 * paused server. For every seed: each call ends by its deadline, a reply belongs to its request, and
 * a call that reports effect `none` was never carried out.
 */
import t from 'tap'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { ReadResponse } from '../../cluster/protocol/rrdb.ts'
import { headerError } from '../../cluster/rpc/handler.ts'
import { Peers } from '../../cluster/rpc/peers.ts'
import { RpcError } from '../../cluster/rpc/rpc-error.ts'
import { RpcServer } from '../../cluster/rpc/server.ts'
import { deadlineIn } from '../../cluster/runtime/deadline.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { SimulatedWorld } from '../../cluster/runtime/simulated.ts'

interface History {
  /** Keys that a handler has seen. */
  readonly handled: Set<string>
  readonly wrong: string[]
  readonly ends: Map<string, number>
  answered: number
}

async function serve(runtime: Runtime, history: History): Promise<void> {
  const server = new RpcServer(runtime, {
    name: 'server',
    maxInflightPerConnection: 4,
    maxBufferedBytesPerConnection: 2000,
  })
  server.handle(Rpc.GET, (key) => {
    const text = key.toString()
    history.handled.add(text)
    const dice = runtime.random.below(10)
    if (dice === 0) return headerError('ERR_BUSY')
    const answer = ReadResponse.make({ value: key })
    if (dice < 5) return answer
    return new Promise((resolve) => {
      runtime.timers.after(runtime.random.below(40), () => resolve(answer))
    })
  })
  await server.listen({ host: '0.0.0.0', port: 80 })
}

const BUDGET_MS = 300
const CALLS = 400

function call(runtime: Runtime, peers: Peers, number: number, history: History): void {
  const text = `call ${number}${'.'.repeat(runtime.random.below(300))}`
  const deadline = deadlineIn(runtime.clock, BUDGET_MS)
  const ended = (): void => {
    history.ends.set(text, (history.ends.get(text) ?? 0) + 1)
    const lateMs = runtime.clock.monotonicMs() - deadline.atMs
    if (lateMs > 20) history.wrong.push(`${text} ended ${lateMs} ms late`)
  }
  peers
    .get('server:80')
    .call(Rpc.GET, Buffer.from(text), { deadline })
    .then(
      ({ value }) => {
        ended()
        history.answered++
        if (value.toString() !== text) history.wrong.push(`${text} got ${value.toString()}`)
      },
      (error: unknown) => {
        ended()
        if (!(error instanceof RpcError)) history.wrong.push(String(error))
        else if (error.local && error.effect === 'none' && history.handled.has(text))
          history.wrong.push(`${text} was carried out in spite of ${error.message}`)
      },
    )
  if (number + 1 < CALLS)
    runtime.timers.after(runtime.random.below(12), () => call(runtime, peers, number + 1, history))
}

async function run(seed: number): Promise<{ readonly hash: string; readonly history: History }> {
  const world = new SimulatedWorld({ seed, network: { breakProbability: 0.004, deadPeerMs: 800 } })
  const history: History = { handled: new Set(), wrong: [], ends: new Map(), answered: 0 }
  const server = world.node('server', { ip: '10.0.0.1' })
  const client = world.node('client', { ip: '10.0.0.2', clockRate: 0.99 })
  void serve(server.runtime, history)
  const peers = new Peers(client.runtime, { silentMs: 400 })
  world.after(1, () => world.enter(client, () => call(client.runtime, peers, 0, history)))
  world.after(400, () => world.network.block('client', 'server'))
  world.after(700, () => world.network.healAll())
  world.after(900, () => server.crash({ powerCut: seed % 2 === 0 }))
  world.after(1100, () => {
    void serve(server.restart(), history)
  })
  world.after(1500, () => server.pause())
  world.after(1700, () => server.resume())
  await world.run({ untilMs: 20_000, until: () => history.ends.size === CALLS })
  t.equal(server.exits.filter(({ how }) => how === 'uncaught').length, 0)
  t.equal(client.exits.length, 0)
  return { hash: world.trace.hash(), history }
}

void t.test('every call ends once, in time, and says truly what it did', async (t) => {
  for (let seed = 0; seed < 25; seed++) {
    const { history } = await run(seed)
    t.same(history.wrong, [], `seed ${seed}`)
    t.equal(history.ends.size, CALLS)
    t.ok([...history.ends.values()].every((times) => times === 1))
    t.ok(history.answered > 100, `${history.answered} answered`)
  }
})

void t.test('the same seed gives the same trace', async (t) => {
  const [first, second] = [await run(7), await run(7)]
  t.equal(first.hash, second.hash)
  t.equal(first.history.answered, second.history.answered)
})

void t.test('a server that is only slow is waited for, as it answers probes', async (t) => {
  const world = new SimulatedWorld({ seed: 1 })
  const server = world.node('server', { ip: '10.0.0.1' })
  const client = world.node('client', { ip: '10.0.0.2' })
  const rpc = new RpcServer(server.runtime, { name: 'server' })
  rpc.handle(Rpc.GET, (value) => {
    return new Promise((resolve) => {
      server.runtime.timers.after(10_000, () => resolve(ReadResponse.make({ value })))
    })
  })
  void rpc.listen({ host: '0.0.0.0', port: 80 })
  const peers = new Peers(client.runtime, { silentMs: 400 })
  const outcomes: string[] = []
  const { runtime } = client
  world.after(1, () => {
    world.enter(client, () => {
      const deadline = deadlineIn(runtime.clock, 20_000)
      const note = (outcome: unknown): number => outcomes.push(String(outcome))
      const slow = peers.get('server:80').call(Rpc.GET, Buffer.from('slow'), { deadline })
      slow.then(({ value }) => note(value), note)
    })
  })
  await world.run({ untilMs: 30_000, until: () => outcomes.length > 0 })
  t.same(outcomes, ['slow'])
  t.equal(rpc.counts().accepted, 1)
})
