/** Replica servers in a whole cluster: the life of a table through deaths and returns of servers. */
import t from 'tap'
import type { Table } from '../../cluster/client/client.ts'
import { TestCluster } from './replica-cluster.ts'

/** Writes numbered keys until told to stop; remembers which writes were acknowledged. */
class Load {
  readonly acknowledged = new Set<string>()
  readonly unknown = new Set<string>()
  #stopped = false
  #running = 0
  readonly #cluster: TestCluster

  constructor(cluster: TestCluster, table: Table, workers: number) {
    this.#cluster = cluster
    const { clientNode, world } = cluster
    for (let worker = 0; worker < workers; worker++) {
      this.#running++
      world.after(0, () => {
        clientNode.perform(clientNode.incarnation, 'input', () => void this.#work(table, worker))
      })
    }
  }

  async #work(table: Table, worker: number): Promise<void> {
    for (let count = 0; !this.#stopped; count++) {
      const key = `w${worker}-${count}`
      try {
        await table.set(key, 's', `value of ${key}`)
        this.acknowledged.add(key)
      } catch {
        this.unknown.add(key)
      }
    }
    this.#running--
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#cluster.until('writers have stopped', () => this.#running === 0)
  }

  /** Keys that were acknowledged and cannot be read. */
  async missing(table: Table): Promise<string[]> {
    const missing: string[] = []
    await this.#cluster.on(this.#cluster.clientNode, async () => {
      const keys = [...this.acknowledged]
      for (let at = 0; at < keys.length; at += 50)
        await Promise.all(
          keys.slice(at, at + 50).map(async (key) => {
            const value = await table.get(key, 's')
            if (String(value) !== `value of ${key}`) missing.push(key)
          }),
        )
    })
    return missing
  }
}

async function tableOf(cluster: TestCluster, name: string): Promise<Table> {
  await cluster.createTable(name)
  return cluster.on(cluster.clientNode, () => cluster.client.openTable(name))
}

function healthy(cluster: TestCluster, partitions = 2, members = 3): boolean {
  const views = cluster.replicas.flatMap((replica) => replica.views())
  const primaries = views.filter((view) => view.status === 'primary')
  const secondaries = views.filter((view) => view.status === 'secondary')
  return (
    primaries.length === partitions &&
    secondaries.length === partitions * (members - 1) &&
    primaries.every((view) => view.secondaries.length === members - 1)
  )
}

void t.test('a table is created, written and read', async (t) => {
  const cluster = new TestCluster('basic')
  await cluster.start(3)
  const table = await tableOf(cluster, 'orders')
  const value = await cluster.on(cluster.clientNode, async () => {
    await table.set('hash', 'sort', 'value')
    return table.get('hash', 'sort')
  })
  t.equal(String(value), 'value')
  t.strictSame(cluster.problems(), [])
})

for (const powerCut of [false, true]) {
  const how = powerCut ? 'a power cut of' : 'the death of'
  void t.test(`no acknowledged write is lost by ${how} a primary`, async (t) => {
    const cluster = new TestCluster(`kill-primary ${powerCut}`)
    await cluster.start(3)
    const table = await tableOf(cluster, 'orders')
    const load = new Load(cluster, table, 8)
    await cluster.until('writes flow', () => load.acknowledged.size > 200)
    const primary = cluster.primaryOf(0)
    primary?.kill({ powerCut })
    const before = load.acknowledged.size
    await cluster.until('writes flow again', () => load.acknowledged.size > before + 500)
    await primary?.start()
    await cluster.until('all three are members again', () => healthy(cluster))
    await load.stop()
    t.strictSame(await load.missing(table), [])
    t.ok(cluster.world.nowMs() < 30_000, `recovered at ${cluster.world.nowMs()}`)
  })

  void t.test(`no acknowledged write is lost by ${how} all servers at once`, async (t) => {
    const cluster = new TestCluster(`kill-all ${powerCut}`)
    await cluster.start(3)
    const table = await tableOf(cluster, 'orders')
    const load = new Load(cluster, table, 8)
    await cluster.until('writes flow', () => load.acknowledged.size > 300)
    for (const replica of cluster.replicas) replica.kill({ powerCut })
    await cluster.elapse(3000)
    for (const replica of cluster.replicas) await replica.start()
    await cluster.until('all three are members again', () => healthy(cluster))
    const before = load.acknowledged.size
    await cluster.until('writes flow again', () => load.acknowledged.size > before + 100)
    await load.stop()
    t.strictSame(await load.missing(table), [])
  })
}

void t.test('a primary that is back before its grace period is over goes on', async (t) => {
  const cluster = new TestCluster('fast restart')
  await cluster.start(3)
  const table = await tableOf(cluster, 'orders')
  const load = new Load(cluster, table, 8)
  await cluster.until('writes flow', () => load.acknowledged.size > 200)
  const primary = cluster.primaryOf(0)
  primary?.kill()
  await primary?.start()
  const before = load.acknowledged.size
  await cluster.until('writes flow again', () => load.acknowledged.size > before + 500)
  await cluster.until('all three are members again', () => healthy(cluster))
  await load.stop()
  t.strictSame(await load.missing(table), [])
})

const smallLog = { 'mutationLog.segmentBytes': '16KiB', 'mutationLog.reserveBytes': '0' }

function learnSteps(cluster: TestCluster): string[] {
  const steps = cluster.traces.flatMap(({ event }) =>
    event.type === 'learning' ? [event.step] : [],
  )
  return [...new Set(steps)].toSorted()
}

for (const [name, flags, expected] of [
  ['the log', {}, ['cache']],
  ['the log in rounds', { 'replica.learnAnswerBytes': '8KiB' }, ['cache', 'log']],
  ['a snapshot and the log', smallLog, ['app', 'cache']],
] as const)
  void t.test(`a new server learns everything under writes, from ${name}`, async (t) => {
    const cluster = new TestCluster(`new learner from ${name}`)
    await cluster.start(3, flags)
    const table = await tableOf(cluster, 'orders')
    const load = new Load(cluster, table, 8)
    await cluster.until('much is written', () => load.acknowledged.size > 1500)
    const gone = cluster.replicas[0]
    gone?.kill()
    await cluster.add(flags)
    await cluster.until('three members again', () => healthy(cluster))
    await load.stop()
    t.strictSame(await load.missing(table), [])
    t.strictSame(learnSteps(cluster), [...expected, 'started', 'succeeded'])
    // The one that comes back is not needed any more and does no harm.
    await gone?.start()
    await cluster.elapse(5000)
    t.ok(healthy(cluster))
    t.strictSame(await load.missing(table), [])
  })
