/**
 * The hand-over of connections to workers (gateway.md L-1, L-2), on a real port but without processes:
 * workers are objects of the test, which acknowledge, die, or want none.
 */
import t, { type Test } from 'tap'
import { silentLog } from '../../cluster/runtime/log.ts'
import type { BareConnection } from '../../cluster/runtime/runtime.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { HandOver, type Receiver } from '../../gateway/processes/hand-over.ts'
import { FrameClient, until } from '../support/gateway-world.ts'

t.setTimeout(60_000)

class TestWorker implements Receiver {
  readonly given: {
    readonly id: number
    readonly listener: number
    readonly connection: BareConnection
  }[] = []
  isOpen = true
  isBusy = false
  others = 0
  mayReceive = (): boolean => this.isOpen && !this.isBusy
  isRefusing = (): boolean => this.isOpen && this.isBusy
  load = (): number => this.others + this.given.length
  give = (id: number, listener: number, connection: BareConnection): void => {
    this.given.push({ id, listener, connection })
  }
}

async function start(t: Test): Promise<{
  readonly handOver: HandOver
  readonly counts: { lost: number; untaken: number; overload: number }
  readonly join: () => TestWorker
  readonly dial: (count: number) => Promise<readonly FrameClient[]>
}> {
  const counts = { lost: 0, untaken: 0, overload: 0 }
  const handOver = new HandOver(nodeRuntime({ log: silentLog }), {
    lost: () => counts.lost++,
    untaken: () => counts.untaken++,
    overload: () => counts.overload++,
  })
  const { port } = await handOver.listen({ host: '127.0.0.1', port: 0 })
  const clients: FrameClient[] = []
  t.teardown(async () => {
    for (const client of clients) client.destroy()
    await handOver.close()
  })
  return {
    handOver,
    counts,
    join: () => {
      const worker = new TestWorker()
      handOver.join(worker)
      return worker
    },
    dial: async (count) => {
      const dialled = await Promise.all(Array.from({ length: count }, () => FrameClient.dial(port)))
      clients.push(...dialled)
      return dialled
    },
  }
}

const ended = (clients: readonly FrameClient[]): number =>
  clients.filter((client) => client.hasEnded).length

void t.test('the worker with the fewest connections gets the next one', async (t) => {
  const { join, dial } = await start(t)
  const [one, two] = [join(), join()]
  two.others = 4
  await dial(10)
  await until(() => one.given.length + two.given.length === 10)
  t.equal(one.given.length, 7)
  t.equal(two.given.length, 3)
})

void t.test(
  'L-2: what a dead worker had not acknowledged is closed, the rest is not',
  async (t) => {
    const { handOver, counts, join, dial } = await start(t)
    const worker = join()
    const clients = await dial(5)
    await until(() => worker.given.length === 5)
    // Acknowledged: the worker holds it, for which another handle of this test stands.
    const kept = worker.given.map(({ id }) => id).slice(0, 2)
    handOver.onAccepted(worker, kept)
    await until(() => ended(clients) === 2)
    handOver.leave(worker)
    handOver.leave(worker)
    await until(() => ended(clients) === 5)
    t.same(counts, { lost: 3, untaken: 0, overload: 0 })
  },
)

void t.test('a worker that does not acknowledge is given no more; the others are', async (t) => {
  const { handOver, join, dial } = await start(t)
  const stuck = join()
  await dial(40)
  await until(() => stuck.given.length > 0)
  const limit = 16
  await until(() => stuck.given.length === limit)
  const quick = join()
  quick.others = 1000
  handOver.pump()
  await until(() => quick.given.length === 16)
  handOver.onAccepted(
    quick,
    quick.given.map(({ id }) => id),
  )
  await until(() => quick.given.length === 24)
  t.equal(stuck.given.length, limit)
})

void t.test(
  'without a worker connections wait for a second, and one that comes takes them',
  async (t) => {
    const { handOver, counts, join, dial } = await start(t)
    const lost = await dial(3)
    await until(() => ended(lost) === 3)
    t.equal(counts.untaken, 3)
    const taken = await dial(3)
    const worker = join()
    handOver.pump()
    await until(() => worker.given.length === 3)
    t.equal(ended(taken), 0)
  },
)

void t.test('L-7: when every worker refuses, connections are closed at once', async (t) => {
  const { counts, join, dial } = await start(t)
  const [one, two] = [join(), join()]
  one.isBusy = true
  await dial(2)
  await until(() => two.given.length === 2)
  two.isBusy = true
  const refused = await dial(3)
  await until(() => ended(refused) === 3)
  t.same(counts, { lost: 0, untaken: 0, overload: 3 })
  t.equal(two.given.length, 2)
})

void t.test('a port is opened once for all who ask, and closed when nobody keeps it', async (t) => {
  const { handOver } = await start(t)
  const at = { host: '127.0.0.1', port: 0 }
  const [one, two] = await Promise.all([handOver.listen(at), handOver.listen(at)])
  t.equal(one.port, two.port)
  t.equal(one.listener, two.listener)
  await handOver.keep(new Set([one.listener]))
  const client = await FrameClient.dial(one.port)
  client.destroy()
  await handOver.keep(new Set())
  await t.rejects(FrameClient.dial(one.port))
  const again = await handOver.listen({ host: '127.0.0.1', port: one.port })
  await t.rejects(handOver.listen({ host: '127.0.0.1', port: again.port + 70_000 }))
})

void t.test('a worker that asks for a port when the gateway ends gets none', async (t) => {
  const handOver = new HandOver(nodeRuntime({ log: silentLog }), {
    lost: () => undefined,
    untaken: () => undefined,
    overload: () => undefined,
  })
  await handOver.close()
  await t.rejects(handOver.listen({ host: '127.0.0.1', port: 0 }), /the gateway is ending/)
})

void t.test('L-3: what a worker gives back goes to another, unless its port is gone', async (t) => {
  const { handOver, join, dial } = await start(t)
  const old = join()
  const [client] = await dial(1)
  await until(() => old.given.length === 1)
  const [given] = old.given
  if (given === undefined) throw new Error('nothing given')
  const { id, connection, listener } = given
  old.isOpen = false
  const next = join()
  let settled = 0
  handOver.onReturned(connection, listener, () => settled++)
  t.equal(next.given[0]?.connection, connection)
  t.equal(next.given[0]?.listener, listener)
  t.notOk(client?.hasEnded)
  t.equal(settled, 0, 'not before it is acknowledged')
  handOver.onReturned(connection, listener + 1, () => settled++)
  t.equal(settled, 1)
  await until(() => client?.hasEnded === true)
  handOver.onAccepted(next, [next.given[0]?.id ?? 0])
  t.equal(settled, 2)
  handOver.onAccepted(old, [id])
})
