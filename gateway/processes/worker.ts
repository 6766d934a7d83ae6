/**
 * The life of a worker process (gateway.md 10). Its configuration, routes and connections come from the
 * primary by message; it holds no ZooKeeper session, no port and no file. Signals are the primary's
 * to act on: a Ctrl-C or a service manager's SIGTERM reaches the whole group at once, and a worker that
 * drained by itself would refuse clients while the primary still sends them.
 *
 * When the primary dies, `node:cluster` would end the worker there and then, and reset its clients.
 * This one goes on serving them from its copy of the routes, ends their connections spread over a
 * time, and exits. It does not attach to the next primary: a channel of `node:cluster` exists between
 * parent and child only, so re-attaching would need a protocol of its own over a local socket, for a
 * worker whose code and configuration may no longer be wanted. Its clients connect again, to the next
 * primary, which has had the port since the moment its predecessor died: workers hold no listener.
 * The time is bounded by the ZooKeeper session, because while the dead primary's node lives, the
 * fleet waits for this gateway before it calls a change complete (DR-31).
 */
import type { SendHandle } from 'node:child_process'
import cluster from 'node:cluster'
import { createLog } from '../../cluster/runtime/log.ts'
import { RecentLines } from '../../cluster/runtime/log-recent.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { BareConnection, Log, Runtime } from '../../cluster/runtime/runtime.ts'
import { systemError } from '../../cluster/runtime/system-error.ts'
import type { GatewayConfig } from '../config.ts'
import { gatewayLogFields } from '../log-fields.ts'
import { exposeEventLoopLag, tagLabels } from '../metrics.ts'
import { type Serving, startServing } from '../serving.ts'
import { AskedNewTables } from './asked-new-tables.ts'
import { HandedNetwork } from './handed-network.ts'
import { FORMAT, type FromWorker, type ToWorker } from './messages.ts'
import { WorkerRoutes } from './worker-routes.ts'

const REPORT_MS = 500
/** Reports between two lists of the tables in use. */
const USE_REPORTS = 20

/** A primary that is gone takes nothing, and nobody misses it. `sent`: it is taken, or never will be. */
function send(
  message: FromWorker,
  connection?: BareConnection,
  sent: () => void = () => undefined,
): void {
  // A bare handle is sent as it is, which the types do not say.
  if (process.connected)
    process.send?.(message, connection as unknown as SendHandle, undefined, sent)
  else sent()
}

/** Resolves to the exit code when the worker has ended. */
export async function runWorker(): Promise<number> {
  // Else `node:cluster` exits at once when the primary is gone (see above).
  cluster.worker?.on('disconnect', () => {
    if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true
  })
  const life = await new Promise<WorkerLife | undefined>((resolve) => {
    let begun: WorkerLife | undefined
    // One listener from the start: the messages behind `start` come in the same turn.
    process.on('message', (message: ToWorker, handle: unknown) => {
      if (begun !== undefined) begun.onMessage(message, handle)
      else if (message.type === 'start')
        resolve((begun = new WorkerLife(message.name, message.config)))
    })
    process.once('disconnect', () => resolve(undefined))
    send({ type: 'hello', format: FORMAT })
  })
  return life === undefined ? 1 : life.run()
}

class WorkerLife {
  readonly #name: string
  readonly #config: GatewayConfig
  readonly #log: Log
  readonly #runtime: Runtime
  readonly #network: HandedNetwork
  readonly #routes: WorkerRoutes
  readonly #newTables: AskedNewTables
  readonly #metrics = new Metrics()
  readonly #recent = new RecentLines(() => Date.now())
  /** Seconds, since it was read last. */
  readonly #loopLag: () => number
  #serving: Serving | undefined
  #ending: Promise<void> | undefined
  #end: (code: number) => void = () => undefined
  #onWhole: () => void = () => undefined
  #reports = 0

  constructor(name: string, config: GatewayConfig) {
    this.#name = name
    this.#config = config
    const fields = { ...gatewayLogFields(config), worker: name }
    this.#log = createLog({
      level: config.log.level,
      name: 'gateway',
      fields,
      recent: this.#recent,
    })
    const runtime = nodeRuntime({ log: this.#log })
    this.#network = new HandedNetwork(runtime.network, runtime.timers, send)
    this.#runtime = { ...runtime, network: this.#network }
    this.#metrics.collectProcess()
    this.#loopLag = exposeEventLoopLag(this.#metrics).reader()
    this.#metrics.setLabels(tagLabels(config.metric.tags))
    const { lookupTimeoutMs } = config.routing
    this.#routes = new WorkerRoutes(runtime, { lookupTimeoutMs, send })
    this.#newTables = new AskedNewTables(runtime, send)
  }

  async run(): Promise<number> {
    const dieOf = (message: string) => (error: unknown) => {
      this.#log.error(message, { error })
      process.exit(1)
    }
    process.on('uncaughtException', dieOf('uncaught exception'))
    process.on('unhandledRejection', dieOf('unhandled rejection'))
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
      process.on(signal, () => this.#onSignal(signal))
    const ended = new Promise<number>((resolve) => {
      this.#end = resolve
    })
    const whole = new Promise<void>((resolve) => {
      this.#onWhole = resolve
    })
    process.once('disconnect', () => this.#onOrphaned())
    if (!process.connected) this.#onOrphaned()
    // Sockets may all be idle, and timers keep no process alive.
    const alive = setInterval(() => undefined, 1 << 30)
    await Promise.race([whole, ended])
    if (this.#ending === undefined) await this.#serve()
    const code = await ended
    clearInterval(alive)
    // The channel alone must not keep it, and whatever else is left is nobody's.
    process.exit(code)
  }

  async #serve(): Promise<void> {
    try {
      this.#serving = await startServing({
        runtime: this.#runtime,
        routes: this.#routes,
        newTables: this.#newTables,
        config: this.#config,
        metrics: this.#metrics,
      })
    } catch (cause) {
      const { code, message } = systemError('start', cause)
      send({ type: 'failed', code, message })
      this.#log.error('start failed', { reason: message })
      this.#end(1)
      return
    }
    this.#report()
  }

  #onSignal(signal: string): void {
    if (process.connected) this.#log.debug('left to the primary', { signal })
    else if (signal !== 'SIGHUP') process.exit(1)
  }

  onMessage(message: ToWorker, handle: unknown): void {
    switch (message.type) {
      case 'routes':
      case 'state':
        this.#routes.receive(message)
        if (this.#routes.isWhole) this.#onWhole()
        return
      case 'listening':
      case 'not-listening':
        this.#network.onAnswer(message)
        return
      case 'connection':
        this.#network.onConnection(
          message.id,
          message.listener,
          handle as BareConnection | undefined,
        )
        return
      case 'new-table':
        this.#newTables.onAnswer(message.question, message.answer)
        return
      case 'settled':
        this.#network.onSettled()
        return
      case 'metrics':
        void this.#metrics
          .text()
          .then((text) => send({ type: 'metrics', question: message.question, text }))
        return
      case 'table': {
        const { question, table, records } = message
        const served = this.#serving?.describeTable(table, this.#name, records)
        send({ type: 'table', question, ...(served === undefined ? {} : { served }) })
        return
      }
      case 'clients': {
        const { question, table } = message
        const none = { clients: [], isShort: false }
        send({ type: 'clients', question, ...(this.#serving?.clients.clientsOf(table) ?? none) })
        return
      }
      case 'counts': {
        const counts = this.#serving?.tableCounts() ?? { tables: [], isShort: false }
        send({ type: 'counts', question: message.question, ...counts })
        return
      }
      case 'lines':
        send({ type: 'lines', question: message.question, lines: this.#recent.list() })
        return
      case 'end-connections':
        void this.#serving?.server.endConnections(message.spreadMs)
        return
      case 'drain':
        this.#drain(message.spreadMs, message.movesOn)
        return
      case 'start':
        return
      default:
        message satisfies never
    }
  }

  #report(): void {
    if (this.#ending !== undefined) return
    this.#routes.checkAge()
    if (++this.#reports % USE_REPORTS === 0) this.#routes.reportUse()
    const overload = this.#serving?.overload() ?? 'normal'
    send({
      type: 'report',
      degraded: overload === 'normal' ? [] : [`overloaded, ${overload}`],
      connections: this.#serving?.server.connectionCount ?? 0,
      taken: this.#network.taken,
      isRefusing: overload === 'refusing',
    })
    this.#tellServed()
    this.#runtime.timers.after(REPORT_MS, () => this.#report())
  }

  #tellServed(): void {
    const counts = this.#serving?.counts()
    if (counts !== undefined)
      send({ type: 'served', counts, loopLagMs: Math.round(this.#loopLag() * 1000) })
  }

  #onOrphaned(): void {
    this.#routes.orphan()
    this.#newTables.close()
    const spreadMs = Math.min(this.#config.drainMs, this.#config.zookeeper.sessionTimeoutMs / 2)
    this.#log.warn('the primary is gone: draining', { spreadMs })
    this.#drain(spreadMs)
  }

  #drain(spreadMs: number, movesOn = false): void {
    this.#ending ??= this.#close(spreadMs, movesOn).then(
      () => this.#end(0),
      (error: unknown) => {
        this.#log.error('drain failed', { error })
        this.#end(1)
      },
    )
  }

  async #close(spreadMs: number, movesOn: boolean): Promise<void> {
    const tick = (): void => {
      this.#routes.checkAge()
      this.#tellServed()
      this.#runtime.timers.after(REPORT_MS, tick)
    }
    tick()
    await this.#serving?.close(spreadMs, movesOn ? this.#network : undefined)
    this.#routes.close()
    this.#tellServed()
    this.#newTables.close()
    const text = await this.#metrics.text()
    const clients = this.#serving?.clients.all() ?? []
    if (process.connected)
      await new Promise<void>((resolve) => {
        const message = { type: 'ended', text, clients } satisfies FromWorker
        process.send?.(message, undefined, undefined, () => resolve())
      })
  }
}
