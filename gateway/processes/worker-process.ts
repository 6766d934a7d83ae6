/**
 * One worker as the primary sees it, from the fork to the exit: what it says is passed on to the route
 * feed and the ports, and what it counted is remembered until somebody asks.
 *
 *     starting ── warm and listening ──▶ ready ── opened ──▶ serving ── drain ──▶ draining ──▶ gone
 */
import cluster, { type Worker } from 'node:cluster'
import type { SendHandle } from 'node:child_process'
import type { RecentLine } from '../../cluster/runtime/log-recent.ts'
import {
  type BareConnection,
  type Log,
  RuntimeError,
  type Runtime,
} from '../../cluster/runtime/runtime.ts'
import { systemError } from '../../cluster/runtime/system-error.ts'
import type { GatewayConfig } from '../config.ts'
import { type ServedCounts, nothingServed } from '../load.ts'
import type { TableCounts } from '../metrics.ts'
import type { NewTables } from '../routing/new-tables.ts'
import type { ServedTable } from '../table-view.ts'
import type { HandOver, Receiver } from './hand-over.ts'
import {
  type ClientsOfTable,
  FORMAT,
  type FromWorker,
  type ToWorker,
  type WorkerReport,
} from './messages.ts'
import type { FeedMember, RouteFeed } from './route-feed.ts'

export interface WorkerParts {
  readonly runtime: Runtime
  readonly feed: RouteFeed
  readonly newTables: NewTables
  readonly handOver: HandOver
}

export interface WorkerEvents {
  readonly onExit: (worker: WorkerProcess, code: number | null, signal: string | null) => void
}

/** What a worker says when it is asked. */
type Told = Extract<FromWorker, { type: 'metrics' | 'table' | 'clients' | 'counts' | 'lines' }>
type Asked = (told: Told | undefined) => void

/** Until a worker has said what it was asked. */
const ANSWER_TIMEOUT_MS = 1000
/** When a whole fleet is asked, which waits a second for all of it. */
const FLEET_ANSWER_MS = 700
/** Ticks of half a second, in each of which a worker reports. */
const SILENT_TICKS = 6
const DEAD_TICKS = 120
/** Behind the time that a drain takes; then it is killed. */
const DRAIN_GRACE_MS = 5000

export class WorkerProcess implements Receiver {
  readonly name: string
  readonly startedAtMs: number
  /** Resolves when it is warm and listens; rejects when it ends before. */
  readonly ready: Promise<void>
  readonly exited: Promise<void>
  /** The ports that it asked for. */
  readonly listeners = new Set<number>()
  readonly #parts: WorkerParts
  readonly #config: GatewayConfig
  readonly #log: Log
  readonly #child: Worker
  readonly #asked = new Map<number, Asked>()
  #member: FeedMember | undefined
  #state: 'starting' | 'ready' | 'serving' | 'draining' | 'gone' = 'starting'
  #report: WorkerReport | undefined
  #silentTicks = 0
  #question = 0
  #givenCount = 0
  /** What it counted when it was last asked, or at its end. */
  #text = ''
  #counts: ServedCounts = nothingServed
  #loopLagMs = 0
  #clients: Extract<FromWorker, { type: 'ended' }>['clients'] = []
  #onReady: () => void = () => undefined
  #onUnready: (reason: Error) => void = () => undefined

  constructor(name: string, config: GatewayConfig, parts: WorkerParts, events: WorkerEvents) {
    this.name = name
    this.#config = config
    this.#parts = parts
    this.#log = parts.runtime.log.child({ part: 'workers', worker: name })
    this.startedAtMs = parts.runtime.clock.monotonicMs()
    this.ready = new Promise((resolve, reject) => {
      this.#onReady = resolve
      this.#onUnready = reject
    })
    this.ready.catch(() => undefined)
    // A supervisor's leash is the primary's; a worker's is its primary.
    this.#child = cluster.fork({ METAPROXY_SUPERVISED: '0' })
    this.#child.on('message', (message: FromWorker, handle: unknown) =>
      this.#onMessage(message, handle as BareConnection | undefined),
    )
    this.#child.on('error', (error) => this.#log.warn('worker channel', { error }))
    // What it holds unacknowledged is released at once, not when the process has been reaped.
    this.#child.on('disconnect', () => this.#leave())
    this.exited = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        this.#onExit(code, signal)
        events.onExit(this, code, signal)
        resolve()
      })
    })
    parts.handOver.join(this)
  }

  get pid(): number | undefined {
    return this.#child.process.pid
  }

  get text(): string {
    return this.#text
  }

  /** What it had served when it last said so, half a second ago. */
  get counts(): ServedCounts {
    return this.#counts
  }

  /** How late its event loop was at worst since the last call, as far as it said so. */
  takeLoopLagMs(): number {
    const worst = this.#loopLagMs
    this.#loopLagMs = 0
    return worst
  }

  /** Whom it served, once it has ended in order. */
  get clients(): Extract<FromWorker, { type: 'ended' }>['clients'] {
    return this.#clients
  }

  /** Why it does not serve; undefined when it does. */
  unreadyReason(): string | undefined {
    if (this.#state !== 'serving') return this.#state
    return this.#isSilent() ? 'silent' : this.#report?.unready
  }

  degradedReasons(): readonly string[] {
    return this.#report?.degraded ?? []
  }

  mayReceive(): boolean {
    return this.#state === 'serving' && !this.#isSilent() && this.#report?.isRefusing === false
  }

  isRefusing(): boolean {
    return this.#state === 'serving' && !this.#isSilent() && this.#report?.isRefusing === true
  }

  #isSilent(): boolean {
    return this.#silentTicks >= SILENT_TICKS
  }

  /**
   * Called twice a second. A worker that says nothing hangs or is stopped: it gets no connections,
   * and after a minute another one in its place. Ticks and not times are counted: when the machine or
   * the whole gateway was stopped, nobody was silent.
   */
  tick(): void {
    if (this.#state === 'draining' || this.#state === 'gone') return
    this.#silentTicks++
    if (this.#silentTicks !== DEAD_TICKS) return
    this.#log.error('worker hangs', { workerPid: this.pid, state: this.#state })
    this.kill()
  }

  connections(): number {
    return this.#report?.connections ?? 0
  }

  load(): number {
    const onTheirWay = this.#givenCount - (this.#report?.taken ?? 0)
    return this.connections() + onTheirWay
  }

  give(id: number, listener: number, connection: BareConnection): void {
    this.#givenCount++
    const message = { type: 'connection', id, listener } satisfies ToWorker
    // A bare handle is sent as it is, which the types do not say; it stays open here too.
    if (this.#child.isConnected())
      this.#child.send(message, connection as unknown as SendHandle, () => undefined)
  }

  /** It may be given connections from now on. */
  open(): void {
    if (this.#state === 'ready') this.#state = 'serving'
    this.#parts.handOver.pump()
  }

  /**
   * No further connection; it answers what it works on, ends the others over the time, or gives them
   * back with `movesOn`, and exits. One that was never opened has no client, and may not even hear
   * yet: it is killed.
   */
  drain(spreadMs: number, movesOn: boolean): void {
    if (this.#state === 'draining' || this.#state === 'gone') return
    const hasClients = this.#state === 'serving'
    this.#state = 'draining'
    if (!hasClients) {
      this.kill()
      return
    }
    this.#send({ type: 'drain', spreadMs, movesOn })
    const limitMs = spreadMs + this.#config.requestTimeoutMs + DRAIN_GRACE_MS
    const timer = this.#parts.runtime.timers.after(limitMs, () => {
      this.#log.error('worker did not end in time', { limitMs })
      this.kill()
    })
    void this.exited.then(() => timer.cancel())
  }

  kill(): void {
    this.#child.process.kill('SIGKILL')
  }

  /** Asks what it counted; a worker that does not answer has what it said last. */
  async metricsText(): Promise<string> {
    const told = await this.#ask((question) => ({ type: 'metrics', question }))
    return told?.type === 'metrics' ? told.text : this.#text
  }

  /** What it does with a table; undefined when it does not say. */
  async describeTable(table: string, records: boolean): Promise<ServedTable | undefined> {
    const ask = (question: number): ToWorker => ({ type: 'table', question, table, records })
    const told = await this.#ask(ask, FLEET_ANSWER_MS)
    return told?.type === 'table' ? told.served : undefined
  }

  /** Who asked it for a table; undefined when it does not say. */
  async clientsOf(table: string): Promise<ClientsOfTable | undefined> {
    const ask = (question: number): ToWorker => ({ type: 'clients', question, table })
    const told = await this.#ask(ask, FLEET_ANSWER_MS)
    return told?.type === 'clients' ? told : undefined
  }

  /** How often it was asked for each table; undefined when it does not say. */
  async tableCounts(): Promise<TableCounts | undefined> {
    const told = await this.#ask((question) => ({ type: 'counts', question }), FLEET_ANSWER_MS)
    return told?.type === 'counts' ? { tables: told.tables, isShort: told.isShort } : undefined
  }

  async recentLines(): Promise<readonly RecentLine[]> {
    const told = await this.#ask((question) => ({ type: 'lines', question }), FLEET_ANSWER_MS)
    return told?.type === 'lines' ? told.lines : []
  }

  endConnections(spreadMs: number): void {
    if (this.#state === 'serving') this.#send({ type: 'end-connections', spreadMs })
  }

  /** Undefined when it does not answer in time. */
  async #ask(
    message: (question: number) => ToWorker,
    timeoutMs = ANSWER_TIMEOUT_MS,
  ): Promise<Told | undefined> {
    if (!this.#child.isConnected()) return undefined
    const question = ++this.#question
    return new Promise((resolve) => {
      const answer = (told: Told | undefined): void => {
        timer.cancel()
        this.#asked.delete(question)
        resolve(told)
      }
      const timer = this.#parts.runtime.timers.after(timeoutMs, () => answer(undefined))
      this.#asked.set(question, answer)
      this.#send(message(question))
    })
  }

  #send(message: ToWorker): void {
    // The callback takes the failure of a channel that closes just now; the exit tells of it.
    if (this.#child.isConnected()) this.#child.send(message, undefined, () => undefined)
  }

  #onMessage(message: FromWorker, connection: BareConnection | undefined): void {
    switch (message.type) {
      case 'hello':
        this.#onHello(message.format)
        return
      case 'failed':
        this.#onUnready(new RuntimeError(message.code, message.message))
        return
      case 'listen':
        void this.#listen(message.question, message)
        return
      case 'accepted':
        this.#parts.handOver.onAccepted(this, message.ids)
        return
      case 'returned':
        if (connection !== undefined)
          this.#parts.handOver.onReturned(connection, message.listener, () =>
            this.#send({ type: 'settled' }),
          )
        return
      case 'load':
        this.#member?.onLoad(message.tables)
        return
      case 'place-table': {
        const { question, budgetMs } = message
        const placing = this.#parts.newTables.place(message.table, message.cluster, budgetMs)
        void placing.then((answer) => this.#send({ type: 'new-table', question, answer }))
        return
      }
      case 'map-table': {
        const { question, budgetMs, wish } = message
        const mapping = this.#parts.newTables.map(wish, budgetMs)
        void mapping.then((answer) => this.#send({ type: 'new-table', question, answer }))
        return
      }
      case 'used':
        this.#member?.onUsed(message.tables)
        return
      case 'applied':
        this.#member?.onApplied(message.number)
        return
      case 'report':
        this.#onReport(message)
        return
      case 'served':
        this.#counts = message.counts
        this.#loopLagMs = Math.max(this.#loopLagMs, message.loopLagMs)
        return
      case 'metrics':
        this.#text = message.text
        this.#asked.get(message.question)?.(message)
        return
      case 'table':
      case 'clients':
      case 'counts':
      case 'lines':
        this.#asked.get(message.question)?.(message)
        return
      case 'ended':
        this.#text = message.text
        this.#clients = message.clients
        return
      default:
        message satisfies never
    }
  }

  #onHello(format: number): void {
    if (format !== FORMAT) {
      this.#onUnready(
        new RuntimeError('EOTHER', `worker of format ${format}, expected ${FORMAT}: restart all`),
      )
      this.kill()
      return
    }
    this.#send({ type: 'start', name: this.name, config: this.#config })
    this.#member = this.#parts.feed.join((message) => this.#send(message))
  }

  async #listen(
    question: number,
    at: { readonly host: string; readonly port: number },
  ): Promise<void> {
    try {
      const { listener, host, port } = await this.#parts.handOver.listen(at)
      this.listeners.add(listener)
      this.#send({ type: 'listening', question, listener, host, port })
    } catch (cause) {
      const { code, message } = systemError(`listen on ${at.host}:${at.port}`, cause)
      this.#send({ type: 'not-listening', question, code, message })
    }
  }

  #onReport(report: WorkerReport): void {
    this.#report = report
    this.#silentTicks = 0
    if (this.#state === 'starting' && report.unready === undefined) {
      this.#state = 'ready'
      this.#onReady()
    }
    this.#parts.handOver.pump()
  }

  #leave(): void {
    this.#member?.leave()
    this.#parts.handOver.leave(this)
  }

  #onExit(code: number | null, signal: string | null): void {
    this.#leave()
    this.#state = 'gone'
    for (const answer of this.#asked.values()) answer(undefined)
    this.#onUnready(
      new RuntimeError('EOTHER', `worker ${this.name} ended with ${signal ?? `code ${code}`}`),
    )
  }
}
