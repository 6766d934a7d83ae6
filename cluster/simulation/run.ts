/**
 * One run of one seed, in two phases: safety, with faults, while every event is checked; then
 * liveness: faults end, and the cluster must become whole, serve, and hold all that it acknowledged.
 * The run ends at the first violation, so that the trace ends there too.
 */
import { AdminClient, PegasusError } from '../client/client.ts'
import type { CommitRule } from '../replica/replica-state.ts'
import type { ReplicaTrace } from '../replica/trace.ts'
import { acknowledgedByAll } from './checkers/acknowledged-by-all.ts'
import { ballotPersistent } from './checkers/ballot-persistent.ts'
import { gpidText, type Checker, type MakeChecker } from './checkers/checker.ts'
import { committedStable } from './checkers/committed-stable.ts'
import { convergenceGaps, waitsForOperator } from './checkers/converges.ts'
import { durableSurvives } from './checkers/durable-survives.ts'
import { leaseDisjoint } from './checkers/lease-disjoint.ts'
import { checkLinearizable, describeHistory } from './checkers/linearizable.ts'
import { onePrimaryPerBallot } from './checkers/one-primary-per-ballot.ts'
import { FaultSwarm, type FaultKindName } from './faults.ts'
import { Positions } from './positions.ts'
import { Oracle, type OracleCounts } from './oracle.ts'
import { SimulatedCluster, tableName } from './world.ts'
import { Workload } from './workload.ts'

export interface RunOptions {
  readonly seed: number
  /** Virtual minutes under faults. */
  readonly minutes: number
  readonly commitRule?: CommitRule
  /** The checkers of replica events; all when left out. What clients see is always checked. */
  readonly checkers?: readonly MakeChecker[]
  /** Kinds of faults to leave out of what the seed draws. */
  readonly without?: ReadonlySet<FaultKindName>
  /** Sees every log line of the servers. */
  readonly onLog?: (line: string) => void
}

export interface RunResult {
  readonly seed: number
  /** Empty when all held. */
  readonly violations: readonly string[]
  readonly traceHash: string
  readonly events: number
  readonly virtualMs: number
  readonly counts: OracleCounts
  /** Partitions that only an operator may revive, by rule. */
  readonly operatorWaits: readonly string[]
  /** Hash keys whose history was too tangled to be judged. */
  readonly undecidedKeys: number
  readonly faultKinds: readonly FaultKindName[]
  readonly schedule: readonly string[]
  /** The last events before the end. */
  readonly lastEvents: readonly string[]
}

export const allCheckers: readonly MakeChecker[] = [
  onePrimaryPerBallot,
  committedStable,
  acknowledgedByAll,
  leaseDisjoint,
  ballotPersistent,
  durableSurvives,
]

const setUpMsMax = 60_000
const convergeMsMax = 60_000
const readAllMsMax = 60_000
const linearizableStepsMax = 200_000
const lastEventsMax = 200

class Run {
  readonly cluster: SimulatedCluster
  readonly violations: string[] = []
  readonly #checkers: readonly Checker[]
  readonly #oracle = new Oracle()
  readonly #workload: Workload
  readonly #swarm: FaultSwarm
  readonly #options: RunOptions
  readonly #watchers = new Set<(trace: ReplicaTrace) => void>()
  readonly #positions = new Positions()
  readonly #operatorWaits = new Set<string>()
  #undecidedKeys = 0
  #exitsSeen = 0

  constructor(options: RunOptions) {
    this.#options = options
    this.#checkers = (options.checkers ?? allCheckers).map((make) => {
      const checker: Checker = make((message) => this.#violated(checker.property, message))
      return checker
    })
    this.cluster = new SimulatedCluster({
      seed: options.seed,
      commitRule: options.commitRule ?? 'all',
      observe: (trace) => this.#observe(trace),
    })
    const { world, plan, metaServers, servers, coordination, clients } = this.cluster
    this.#workload = new Workload({
      plan,
      oracle: this.#oracle,
      random: world.random.fork('workload'),
      tableName,
      metaServers,
    })
    this.#swarm = new FaultSwarm(
      {
        world,
        servers,
        coordination,
        watch: (watcher) => {
          this.#watchers.add(watcher)
          return () => this.#watchers.delete(watcher)
        },
        nodeNames: [...servers.map(({ node }) => node.name), ...clients.map(({ name }) => name)],
      },
      world.random.fork('faults'),
      options.without ?? new Set(),
    )
  }

  async run(): Promise<RunResult> {
    const { world } = this.cluster
    const { onLog } = this.#options
    if (onLog !== undefined)
      for (const node of world.nodes())
        node.onLog = ({ atMs, level, message, fields }) =>
          onLog(`${atMs.toFixed(3)} ${node.name} ${level} ${message} ${JSON.stringify(fields)}`)
    await this.#setUp()
    await this.#underFaults()
    await this.#converge()
    await this.#readAll()
    this.#judgeHistories()
    return {
      seed: this.#options.seed,
      violations: this.violations,
      traceHash: world.trace.hash(),
      events: world.trace.count,
      virtualMs: world.nowMs(),
      counts: this.#oracle.counts(),
      operatorWaits: [...this.#operatorWaits],
      undecidedKeys: this.#undecidedKeys,
      faultKinds: this.#swarm.kinds,
      schedule: this.#swarm.schedule(),
      lastEvents: world.trace.lines(lastEventsMax),
    }
  }

  readonly #failed = (): boolean => this.violations.length > 0

  #violated(property: string, message: string): void {
    this.violations.push(`${property}: ${message}`)
    this.cluster.world.note('checker', property, message)
  }

  #observe(trace: ReplicaTrace): void {
    const { gpid, node, event } = trace
    const ballot = 'ballot' in event ? event.ballot : 0
    const decree = 'decree' in event ? event.decree : 0
    const mark = (gpid.partitionIndex << 28) ^ (ballot << 20) ^ decree
    this.cluster.world.note(node, event.type, mark, { gpid: gpidText(trace), ...event })
    this.#positions.observe(trace)
    for (const checker of this.#checkers) checker.observe(trace)
    for (const watcher of this.#watchers) watcher(trace)
  }

  async #setUp(): Promise<void> {
    const { plan, metaServers } = this.cluster
    const created = await this.cluster.asOperator(
      async (runtime) => {
        const admin = new AdminClient({ runtime, metaServers, operationTimeoutMs: setUpMsMax })
        const { partitionCount, copies } = plan
        // Refused until enough replica servers have joined.
        for (let done = false; !done;) {
          try {
            await admin.createTable(tableName, { partitionCount, replicaCount: copies })
            done = true
          } catch (error) {
            if (!(error instanceof PegasusError)) throw error
            await new Promise<void>((resolve) => runtime.timers.after(100, resolve))
          }
        }
        await admin.waitForTable(tableName)
        admin.close()
        return true
      },
      setUpMsMax,
      this.#failed,
    )
    if (created !== true) this.#violated('the cluster starts', 'the table did not become whole')
  }

  async #underFaults(): Promise<void> {
    if (this.#failed()) return
    const { world, clients } = this.cluster
    for (const node of clients)
      world.after(0, () =>
        world.enter(node, () => void this.#workload.runClient(node.runtime, node.name)),
      )
    this.#swarm.start()
    const untilMs = world.nowMs() + this.#options.minutes * 60_000
    await world.run({ untilMs, until: () => this.#failed() || this.#died() })
    this.#swarm.heal()
    world.network.healAll()
  }

  /** A process that ended without a fault that explains it is a finding. */
  #died(): boolean {
    if (this.cluster.world.exitCount === this.#exitsSeen) return this.#failed()
    this.#exitsSeen = this.cluster.world.exitCount
    for (const server of this.cluster.servers)
      for (const exit of server.node.exits.splice(0)) {
        if (exit.how === 'stopped') continue
        const excused = exit.how !== 'uncaught' && server.excused
        if (!excused)
          this.#violated(
            'servers end only for a reason',
            `${server.node.name} ${exit.how}: ${exit.message}`,
          )
      }
    for (const node of [...this.cluster.clients, this.cluster.operator])
      for (const exit of node.exits.splice(0))
        this.#violated('clients throw PegasusError only', `${node.name}: ${exit.message}`)
    return this.#failed()
  }

  async #converge(): Promise<void> {
    if (this.#failed()) return
    const { world } = this.cluster
    this.#workload.stop()
    const untilMs = world.nowMs() + convergeMsMax
    let gaps: readonly string[] = ['nothing was seen yet']
    while (gaps.length > 0 && world.nowMs() < untilMs) {
      gaps = (await this.#gaps()) ?? gaps
      if (gaps.length > 0)
        await world.run({ untilMs: world.nowMs() + 200, until: () => this.#died() })
      if (this.#failed()) return
    }
    for (const gap of gaps) this.#violated('the cluster converges after the faults', gap)
    const lastCallMs = world.nowMs() + this.cluster.plan.operationTimeoutMs + 5000
    await world.run({ untilMs: lastCallMs, until: () => this.#workload.idle || this.#died() })
    if (!this.#workload.idle)
      this.#violated('every call ends', 'a client operation has not come back')
  }

  async #gaps(): Promise<readonly string[] | undefined> {
    const look = async (runtime: Parameters<SimulatedCluster['partitions']>[0]) => {
      try {
        const partitions = await this.cluster.partitions(runtime, 2000)
        this.#operatorWaits.clear()
        const expected = partitions.filter((partition) => {
          const positionOf = (node: string) => this.#positions.of(partition.gpid, node)
          if (!waitsForOperator(partition, positionOf)) return true
          this.#operatorWaits.add(partition.gpid)
          return false
        })
        return convergenceGaps(expected, await this.cluster.members(expected))
      } catch (error) {
        return [`the meta server does not answer: ${String(error)}`]
      }
    }
    return this.cluster.asOperator(look, 3000, () => this.#died())
  }

  async #readAll(): Promise<void> {
    if (this.#failed()) return
    const read = async (runtime: Parameters<Workload['readAll']>[0]): Promise<boolean> => {
      await this.#workload.readAll(runtime, this.#operatorWaits.size > 0)
      return true
    }
    const done = await this.cluster.asOperator(read, readAllMsMax, () => this.#died())
    if (done !== true && !this.#failed())
      this.#violated('the cluster serves after the faults', 'reads are not answered')
  }

  #judgeHistories(): void {
    for (const [hashKey, operations] of this.#oracle.histories()) {
      const { verdict } = checkLinearizable(operations, linearizableStepsMax)
      if (verdict === 'undecided') this.#undecidedKeys++
      if (verdict !== 'violated') continue
      const history = describeHistory(operations)
      this.#violated('linearizable per hash key', `${hashKey}\n    ${history.join('\n    ')}`)
    }
  }
}

/** Resolves to what was found; rejects only for mistakes of the simulation itself. */
export function runSeed(options: RunOptions): Promise<RunResult> {
  return new Run(options).run()
}
