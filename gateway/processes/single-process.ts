/**
 * A gateway in one process: serves from the directory itself. A reload starts a second serving part
 * beside the first, on the same port, and drains the first (gateway.md L-3). Metrics are kept apart,
 * and summed, as those of workers are.
 */
import { Metrics } from '../../cluster/runtime/metrics.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { ClientBook } from '../clients/client-book.ts'
import type { MoveOn } from '../clients/client-connection.ts'
import type { GatewayConfig } from '../config.ts'
import type { ProcessCounts } from '../fleet-answers.ts'
import { type ServedCounts, addCounts, nothingServed } from '../load.ts'
import { tagLabels } from '../metrics.ts'
import type { NewTables } from '../routing/new-tables.ts'
import type { Routes } from '../routing/routes.ts'
import { type Serving, startServing } from '../serving.ts'
import type { ServedTable } from '../table-view.ts'
import { KeptNetwork } from './kept-network.ts'
import type { ClientsOfTable } from './messages.ts'
import { MetricTotals } from './metric-texts.ts'
import type { Address, Replaced, ServingSide } from './serving-side.ts'

interface Generation {
  readonly number: number
  readonly serving: Serving
  readonly metrics: Metrics
}

export class SingleProcess implements ServingSide {
  readonly #runtime: Runtime
  readonly #network: KeptNetwork
  readonly #routes: Routes
  readonly #newTables: NewTables
  readonly #totals = new MetricTotals()
  /** By generations that have ended. */
  #counted: ServedCounts = nothingServed
  /** One for all that come after each other. */
  readonly #clients: ClientBook
  readonly #draining = new Set<Generation>()
  #current: Generation | undefined
  #started = 0

  private constructor(runtime: Runtime, routes: Routes, newTables: NewTables) {
    this.#network = new KeptNetwork(runtime.network)
    this.#runtime = { ...runtime, network: this.#network }
    this.#routes = routes
    this.#newTables = newTables
    this.#clients = new ClientBook(runtime.clock)
  }

  /** Rejects with a RuntimeError such as EADDRINUSE. */
  static async start(
    runtime: Runtime,
    routes: Routes,
    newTables: NewTables,
    config: GatewayConfig,
  ): Promise<SingleProcess> {
    const process = new SingleProcess(runtime, routes, newTables)
    process.#current = await process.#generation(config)
    return process
  }

  async #generation(config: GatewayConfig): Promise<Generation> {
    const metrics = new Metrics()
    metrics.setLabels(tagLabels(config.metric.tags))
    const parts = {
      runtime: this.#runtime,
      routes: this.#routes,
      newTables: this.#newTables,
      clients: this.#clients,
      config,
      metrics,
    }
    return { number: ++this.#started, serving: await startServing(parts), metrics }
  }

  address(): Address {
    return this.#current?.serving ?? { host: '', port: 0 }
  }

  connections(): number {
    return this.#generations().reduce((sum, { serving }) => sum + serving.server.connectionCount, 0)
  }

  counts(): ServedCounts {
    return this.#generations()
      .map(({ serving }) => serving.counts())
      .reduce(addCounts, this.#counted)
  }

  loopLagMs(): number {
    return 0
  }

  #generations(): readonly Generation[] {
    return [...(this.#current === undefined ? [] : [this.#current]), ...this.#draining]
  }

  unreadyReason(): string | undefined {
    return this.#current === undefined ? 'draining' : undefined
  }

  degradedReasons(): readonly string[] {
    const overload = this.#current?.serving.overload() ?? 'normal'
    return overload === 'normal' ? [] : [`overloaded, ${overload}`]
  }

  async reload(config: GatewayConfig): Promise<Replaced> {
    const next = await this.#generation(config)
    const old = this.#current
    if (old === undefined) {
      await next.serving.close()
      throw new Error('the process ends')
    }
    this.#current = next
    return { drained: this.#end(old, config.drainMs, this.#network) }
  }

  async #end(generation: Generation, spreadMs: number, moveOn?: MoveOn): Promise<void> {
    this.#draining.add(generation)
    await generation.serving.close(spreadMs, moveOn)
    const text = await generation.metrics.text()
    this.#draining.delete(generation)
    this.#counted = addCounts(this.#counted, generation.serving.counts())
    this.#totals.retire(text)
  }

  async metricsText(own: string): Promise<string> {
    const generations = this.#generations()
    const texts = await Promise.all(generations.map(async ({ metrics }) => metrics.text()))
    // One that ended meanwhile is among those that ended, with the same text.
    const alive = texts.filter((_text, at) => {
      const generation = generations[at]
      return generation === this.#current || this.#draining.has(generation as Generation)
    })
    return this.#totals.merge([own, ...alive])
  }

  async describeTable(table: string, records: boolean): Promise<readonly ServedTable[]> {
    return this.#generations().map(({ serving }) => serving.describeTable(table, '', records))
  }

  async clientsOf(table: string): Promise<ClientsOfTable> {
    return this.#clients.clientsOf(table)
  }

  async tableCounts(): Promise<readonly ProcessCounts[]> {
    return this.#generations().map(({ number, serving }) => ({
      process: String(number),
      ...serving.tableCounts(),
    }))
  }

  async recentLines(): Promise<readonly []> {
    return []
  }

  async endConnections(spreadMs: number): Promise<void> {
    await this.#current?.serving.server.endConnections(spreadMs)
  }

  async applied(): Promise<void> {
    // Every query is answered from the directory itself.
  }

  async drain(spreadMs: number): Promise<void> {
    const generations = this.#generations()
    this.#current = undefined
    await Promise.all(generations.map(async (generation) => this.#end(generation, spreadMs)))
  }

  kill(): void {
    // The process is all there is.
  }
}
