/**
 * The workers of a primary (gateway.md 10): started, started again when they die, replaced by new
 * ones for a reload, drained at the end. Each slot has one worker that serves; what is being replaced
 * lives on beside it until its clients have gone.
 */
import type { MetricCounter, Metrics } from '../../cluster/runtime/metrics.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import type { RecentLine } from '../../cluster/runtime/log-recent.ts'
import { mergeClients } from '../client-facts.ts'
import { ClientBook } from '../clients/client-book.ts'
import type { GatewayConfig } from '../config.ts'
import type { ProcessCounts } from '../fleet-answers.ts'
import { type ServedCounts, addCounts, nothingServed } from '../load.ts'
import { workerRestarts } from '../metrics.ts'
import type { HandOver } from './hand-over.ts'
import type { ClientsOfTable } from './messages.ts'
import { MetricTotals } from './metric-texts.ts'
import { CRASHES_MAX, Restarts } from './restarts.ts'
import type { RouteFeed } from './route-feed.ts'
import type { NewTables } from '../routing/new-tables.ts'
import type { ServedTable } from '../table-view.ts'
import type { Address, Replaced, ServingSide } from './serving-side.ts'
import { WorkerProcess } from './worker-process.ts'

/** A new worker that is not warm and listening by then: the reload is given up. */
const START_MS_MAX = 30_000
const STATE_MS = 500

export class WorkerPool implements ServingSide {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #feed: RouteFeed
  readonly #newTables: NewTables
  readonly #handOver: HandOver
  readonly #restarted: MetricCounter
  readonly #restarts = new Restarts()
  readonly #slots = new Map<string, WorkerProcess | undefined>()
  /** Every process there is, the draining ones too. */
  readonly #alive = new Set<WorkerProcess>()
  readonly #totals = new MetricTotals()
  /** By workers that have ended. */
  #counted: ServedCounts = nothingServed
  /** Whom workers served that have ended. */
  readonly #formerClients: ClientBook
  #config: GatewayConfig
  #isDraining = false

  constructor(parts: {
    readonly runtime: Runtime
    readonly metrics: Metrics
    readonly feed: RouteFeed
    readonly newTables: NewTables
    readonly handOver: HandOver
    readonly config: GatewayConfig
  }) {
    this.#runtime = parts.runtime
    this.#log = parts.runtime.log.child({ part: 'workers' })
    this.#feed = parts.feed
    this.#newTables = parts.newTables
    this.#handOver = parts.handOver
    this.#config = parts.config
    this.#formerClients = new ClientBook(parts.runtime.clock)
    this.#restarted = workerRestarts(parts.metrics)
    parts.metrics.gauge('gateway_workers', 'Worker processes, by state', () => {
      const serving = [...this.#slots.values()].filter((worker) => worker?.mayReceive() === true)
      return [
        { labels: { state: 'serving' }, value: serving.length },
        { labels: { state: 'other' }, value: this.#alive.size - serving.length },
      ]
    })
    this.#tellState()
  }

  #tellState(): void {
    this.#feed.tellState()
    for (const worker of this.#alive) worker.tick()
    this.#runtime.timers.after(STATE_MS, () => {
      if (this.#alive.size > 0 || !this.#isDraining) this.#tellState()
    })
  }

  /**
   * Forks the first workers. Resolves when one of them serves; rejects with the first reason when
   * none gets there, such as for a port in use.
   */
  async start(): Promise<void> {
    const names = slotNames(this.#config)
    await Promise.any(names.map(async (name) => this.#fill(name))).catch((error: unknown) => {
      throw error instanceof AggregateError ? error.errors[0] : error
    })
  }

  async #fill(name: string): Promise<void> {
    const worker = this.#spawn(name, this.#config)
    this.#slots.set(name, worker)
    await worker.ready
    if (this.#slots.get(name) === worker) worker.open()
  }

  #spawn(name: string, config: GatewayConfig): WorkerProcess {
    const worker = new WorkerProcess(
      name,
      config,
      {
        runtime: this.#runtime,
        feed: this.#feed,
        newTables: this.#newTables,
        handOver: this.#handOver,
      },
      { onExit: (exited, code, signal) => this.#onExit(exited, code, signal) },
    )
    this.#alive.add(worker)
    return worker
  }

  #onExit(worker: WorkerProcess, code: number | null, signal: string | null): void {
    this.#alive.delete(worker)
    this.#totals.retire(worker.text)
    this.#counted = addCounts(this.#counted, worker.counts)
    this.#formerClients.absorb(worker.clients)
    const { name, pid } = worker
    if (this.#isDraining || this.#slots.get(name) !== worker) {
      this.#log.info('worker ended', { worker: name, workerPid: pid, code, signal })
      return
    }
    const nowMs = this.#runtime.clock.monotonicMs()
    const pauseMs = this.#restarts.crashed(name, nowMs, nowMs - worker.startedAtMs)
    this.#restarted.add()
    this.#log.error('worker died', { worker: name, workerPid: pid, code, signal, pauseMs })
    this.#slots.set(name, undefined)
    this.#runtime.timers.after(pauseMs, () => {
      if (this.#isDraining || !this.#slots.has(name) || this.#slots.get(name) !== undefined) return
      // A failure is an exit too, and comes back here.
      this.#fill(name).catch(() => undefined)
    })
  }

  /**
   * Replaces every worker by one with this configuration: all new ones warm and listening first, then
   * the old ones drain. Rejects, and leaves everything as it was, when a new one does not get there.
   */
  async reload(config: GatewayConfig): Promise<Replaced> {
    const next: WorkerProcess[] = []
    try {
      // One at a time: a start costs a processor for half a second, and the old ones serve meanwhile.
      for (const name of slotNames(config)) {
        const worker = this.#spawn(name, config)
        next.push(worker)
        await this.#inTime(worker.ready)
      }
      if (!next.every((worker) => this.#alive.has(worker)))
        throw new Error('a new worker died while the others started')
    } catch (error) {
      for (const worker of next) worker.kill()
      throw error
    }
    if (this.#isDraining) {
      for (const worker of next) worker.drain(0, false)
      throw new Error('the process ends')
    }
    const old = [...this.#slots.values()]
    this.#config = config
    this.#slots.clear()
    for (const worker of next) this.#slots.set(worker.name, worker)
    for (const worker of next) worker.open()
    const listeners = new Set(next.flatMap((worker) => [...worker.listeners]))
    await this.#handOver.keep(listeners)
    for (const worker of old) worker?.drain(config.drainMs, true)
    return { drained: allExited(old) }
  }

  async #inTime(ready: Promise<void>): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = this.#runtime.timers.after(START_MS_MAX, () =>
        reject(new Error(`a new worker was not ready within ${START_MS_MAX} ms`)),
      )
      ready.then(() => resolve(), reject).finally(() => timer.cancel())
    })
  }

  /** Every worker answers what it is working on and ends. */
  async drain(spreadMs: number): Promise<void> {
    this.#isDraining = true
    await this.#handOver.close()
    const workers = [...this.#alive]
    for (const worker of workers) worker.drain(spreadMs, false)
    await allExited(workers)
  }

  /** Those that do not answer in time are left out. */
  async describeTable(table: string, records: boolean): Promise<readonly ServedTable[]> {
    const served = await Promise.all(
      [...this.#alive].map(async (worker) => worker.describeTable(table, records)),
    )
    return served.filter((one) => one !== undefined)
  }

  async clientsOf(table: string): Promise<ClientsOfTable> {
    const workers = [...this.#alive]
    const found = await Promise.all(workers.map(async (worker) => worker.clientsOf(table)))
    const told = [this.#formerClients.clientsOf(table), ...found.filter((one) => one !== undefined)]
    return {
      clients: mergeClients(told.map(({ clients }) => clients)),
      isShort: told.length <= workers.length || told.some(({ isShort }) => isShort),
    }
  }

  async tableCounts(): Promise<readonly ProcessCounts[]> {
    const workers = [...this.#alive]
    const found = await Promise.all(workers.map(async (worker) => worker.tableCounts()))
    return found.flatMap((counts, at) => {
      const { name, pid } = workers[at] ?? {}
      return counts === undefined ? [] : [{ process: `${name}.${pid}`, ...counts }]
    })
  }

  async recentLines(): Promise<readonly (RecentLine & { readonly process: string })[]> {
    const found = [...this.#alive].map(async (worker) => {
      const lines = await worker.recentLines()
      return lines.map((line) => ({ ...line, process: worker.name }))
    })
    return (await Promise.all(found)).flat()
  }

  async endConnections(spreadMs: number): Promise<void> {
    for (const worker of this.#alive) worker.endConnections(spreadMs)
  }

  async applied(): Promise<void> {
    await this.#feed.applied()
  }

  /** At once, whatever they are doing. */
  kill(): void {
    this.#isDraining = true
    for (const worker of this.#alive) worker.kill()
  }

  /** Ready while at least one worker is, unless they die faster than they can be replaced. */
  unreadyReason(): string | undefined {
    if (this.#isDraining) return 'draining'
    const crashes = this.#restarts.crashesInMinute(this.#runtime.clock.monotonicMs())
    if (crashes > CRASHES_MAX) return `${crashes} worker crashes within a minute`
    const reasons = this.#reasons()
    return reasons.some((reason) => reason === undefined) ? undefined : (reasons[0] ?? 'no workers')
  }

  #reasons(): readonly (string | undefined)[] {
    return [...this.#slots.values()].map((worker) =>
      worker === undefined ? 'dead' : worker.unreadyReason(),
    )
  }

  degradedReasons(): readonly string[] {
    return [...this.#slots].flatMap(([name, worker]) => {
      const unready = worker === undefined ? 'dead' : worker.unreadyReason()
      const degraded = worker?.degradedReasons() ?? []
      return [...(unready === undefined ? [] : [unready]), ...degraded].map(
        (reason) => `worker ${name}: ${reason}`,
      )
    })
  }

  address(): Address {
    return this.#handOver.address
  }

  connections(): number {
    return [...this.#alive].reduce((sum, worker) => sum + worker.connections(), 0)
  }

  counts(): ServedCounts {
    return [...this.#alive].map(({ counts }) => counts).reduce(addCounts, this.#counted)
  }

  loopLagMs(): number {
    return Math.max(0, ...[...this.#alive].map((worker) => worker.takeLoopLagMs()))
  }

  /** What all workers counted, those that are gone too, and what the primary itself did. */
  async metricsText(own: string): Promise<string> {
    const texts = await Promise.all([...this.#alive].map(async (worker) => worker.metricsText()))
    return this.#totals.merge([own, ...texts])
  }
}

async function allExited(workers: readonly (WorkerProcess | undefined)[]): Promise<void> {
  await Promise.all(workers.map(async (worker) => worker?.exited))
}

function slotNames({ workers }: GatewayConfig): readonly string[] {
  return Array.from({ length: workers }, (_, index) => String(index + 1))
}
