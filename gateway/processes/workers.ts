/**
 * The processes of a gateway (gateway.md 10): the primary forks workers that share the client port,
 * starts dead ones again with back-off, and asks them for health and metrics. In this form each
 * worker holds its own ZooKeeper session, so a worker depends on the primary for nothing but the
 * sharing of the port.
 */
import cluster, { type Worker } from 'node:cluster'
import { availableParallelism } from 'node:os'
import type { MetricCounter, Metrics } from '../../cluster/runtime/metrics.ts'
import type { Log, Runtime, Timers } from '../../cluster/runtime/runtime.ts'
import type { Health } from '../health.ts'
import { mergeMetricTexts } from './metric-texts.ts'

export interface Workers extends Health {
  /** All workers' metrics and the primary's own as one text. */
  readonly mergeMetrics: (own: string) => Promise<string>
  /** Every worker answers what it is working on and ends. */
  readonly drain: () => Promise<void>
}

type ToWorker = { readonly type: 'metrics'; readonly id: number }
type FromWorker =
  | { readonly type: 'health'; readonly unready?: string; readonly degraded: readonly string[] }
  | { readonly type: 'metrics'; readonly id: number; readonly text: string }

const REPORT_MS = 500
const METRICS_TIMEOUT_MS = 1000
const RESPAWN_FIRST_MS = 100
const RESPAWN_LAST_MS = 5000
/** More crashes than this in a minute: not ready, although the others go on (L-2). */
const CRASHES_MAX = 5
const MINUTE_MS = 60_000
const DRAIN_MS_MAX = 30_000

export function isWorker(): boolean {
  return cluster.isWorker
}

/** In a worker: tells the primary how it is and answers its questions. Returns the stop. */
export function reportHealth(
  timers: Timers,
  health: Health,
  metricsText: () => Promise<string>,
): () => void {
  let stopped = false
  const send = (message: FromWorker): void => {
    if (process.connected) process.send?.(message)
  }
  const report = (): void => {
    if (stopped) return
    const unready = health.unreadyReason()
    send({
      type: 'health',
      ...(unready === undefined ? {} : { unready }),
      degraded: health.degradedReasons(),
    })
    timers.after(REPORT_MS, report)
  }
  const onMessage = (message: ToWorker): void => {
    if (message.type !== 'metrics') return
    void metricsText().then((text) => send({ type: 'metrics', id: message.id, text }))
  }
  process.on('message', onMessage)
  report()
  return () => {
    stopped = true
    process.off('message', onMessage)
    // The channel to the primary alone must not keep a drained worker alive.
    process.channel?.unref()
  }
}

interface Slot {
  readonly name: string
  worker: Worker | undefined
  unready: string | undefined
  degraded: readonly string[]
  backoffMs: number
}

/** In the primary: forks the workers, which run the same command line. */
export function startWorkers(options: {
  readonly count: number
  readonly runtime: Runtime
  readonly metrics: Metrics
}): Workers {
  return new WorkerGroup(options)
}

class WorkerGroup implements Workers {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #restarts: MetricCounter
  readonly #slots: readonly Slot[]
  readonly #crashedAtMs: number[] = []
  readonly #waiting = new Map<number, (text: string) => void>()
  #question = 0
  #draining: Promise<void> | undefined
  #onExit: (() => void) | undefined

  constructor(options: {
    readonly count: number
    readonly runtime: Runtime
    readonly metrics: Metrics
  }) {
    this.#runtime = options.runtime
    this.#log = options.runtime.log.child({ part: 'workers' })
    this.#restarts = options.metrics.counter(
      'gateway_worker_restarts_total',
      'Workers that died and were started again',
    )
    const count = Math.min(options.count, availableParallelism() * 8)
    this.#slots = Array.from({ length: count }, (_, index) => ({
      name: String(index + 1),
      worker: undefined,
      unready: 'starting',
      degraded: [],
      backoffMs: RESPAWN_FIRST_MS,
    }))
    for (const slot of this.#slots) this.#fork(slot)
  }

  /** Ready while at least one worker is, unless they die faster than they can be replaced. */
  unreadyReason(): string | undefined {
    if (this.#draining !== undefined) return 'draining'
    const nowMs = this.#runtime.clock.monotonicMs()
    const recent = this.#crashedAtMs.filter((atMs) => nowMs - atMs < MINUTE_MS).length
    if (recent > CRASHES_MAX) return `${recent} worker crashes within a minute`
    const unready = this.#slots.filter((slot) => slot.unready !== undefined)
    return unready.length < this.#slots.length ? undefined : (unready[0]?.unready ?? 'no workers')
  }

  degradedReasons(): readonly string[] {
    return this.#slots.flatMap(({ name, unready, degraded }) =>
      [...(unready === undefined ? [] : [unready]), ...degraded].map(
        (reason) => `worker ${name}: ${reason}`,
      ),
    )
  }

  async mergeMetrics(own: string): Promise<string> {
    const texts = await Promise.all(
      this.#slots.map(async (slot) => ({ worker: slot.name, text: await this.#ask(slot) })),
    )
    return mergeMetricTexts([{ worker: 'primary', text: own }, ...texts])
  }

  drain(): Promise<void> {
    this.#draining ??= this.#drain()
    return this.#draining
  }

  async #drain(): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      this.#onExit = () => {
        if (this.#slots.every((slot) => slot.worker === undefined)) resolve()
      }
    })
    for (const { worker } of this.#slots) worker?.process.kill('SIGTERM')
    this.#onExit?.()
    const timer = this.#runtime.timers.after(DRAIN_MS_MAX, () => {
      for (const { worker } of this.#slots) worker?.process.kill('SIGKILL')
    })
    await gone
    timer.cancel()
  }

  /** '' when the worker does not answer. */
  #ask(slot: Slot): Promise<string> {
    const { worker } = slot
    if (worker === undefined || !worker.isConnected()) return Promise.resolve('')
    const id = ++this.#question
    return new Promise((resolve) => {
      const answer = (text: string): void => {
        timer.cancel()
        this.#waiting.delete(id)
        resolve(text)
      }
      const timer = this.#runtime.timers.after(METRICS_TIMEOUT_MS, () => answer(''))
      this.#waiting.set(id, answer)
      worker.send({ type: 'metrics', id } satisfies ToWorker)
    })
  }

  #fork(slot: Slot): void {
    const worker = cluster.fork()
    slot.worker = worker
    slot.unready = 'starting'
    worker.on('message', (message: FromWorker) => this.#onMessage(slot, message))
    worker.on('exit', (code, signal) => this.#onExited(slot, code, signal))
    worker.on('error', (error) => this.#log.warn('worker channel', { worker: slot.name, error }))
  }

  #onMessage(slot: Slot, message: FromWorker): void {
    if (message.type === 'metrics') {
      this.#waiting.get(message.id)?.(message.text)
      return
    }
    slot.unready = message.unready
    slot.degraded = message.degraded
    if (message.unready === undefined) slot.backoffMs = RESPAWN_FIRST_MS
  }

  #onExited(slot: Slot, code: number | null, signal: string | null): void {
    slot.worker = undefined
    slot.unready = 'dead'
    slot.degraded = []
    this.#onExit?.()
    if (this.#draining !== undefined) return
    const nowMs = this.#runtime.clock.monotonicMs()
    this.#crashedAtMs.push(nowMs)
    while (nowMs - (this.#crashedAtMs[0] ?? nowMs) > MINUTE_MS) this.#crashedAtMs.shift()
    this.#restarts.add()
    this.#log.error('worker died', { worker: slot.name, code, signal })
    this.#runtime.timers.after(slot.backoffMs, () => {
      if (this.#draining === undefined) this.#fork(slot)
    })
    slot.backoffMs = Math.min(RESPAWN_LAST_MS, slot.backoffMs * 2)
  }
}
