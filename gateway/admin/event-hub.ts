/**
 * What happened, for those who listen (gateway.md 14, `/events`): a ring of the last events with ids,
 * replay after a reconnect, and listeners with a limit of unsent bytes. The wire is `event-routes.ts`.
 *
 * An id is `<wall ms>.<number>.<instance>`: at this gateway the number tells exactly what a listener
 * has missed; at another one the time does, with a second of overlap.
 */
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { EventTopic, ServerEvent } from './api/events.ts'

export interface NumberedEvent {
  readonly id: string
  readonly number: number
  readonly wallMs: number
  readonly topic: EventTopic
  readonly json: string
}

export type EventListener = (event: NumberedEvent) => void

/** 500 a second for ten minutes are more than these; a listener is told to read anew then. */
const EVENTS_MAX = 100_000
const BYTES_MAX = 24 * 1024 * 1024
const OVERLAP_MS = 1000
const LISTENERS_MAX = 256

export class EventHub {
  readonly #runtime: Pick<Runtime, 'clock'>
  readonly #instance: string
  readonly #startedWallMs: number
  /** A ring: `#first` is the index of the oldest. */
  #events: NumberedEvent[] = []
  #first = 0
  #bytes = 0
  #number = 0
  readonly #listeners = new Set<EventListener>()

  constructor(runtime: Pick<Runtime, 'clock' | 'random'>) {
    this.#runtime = runtime
    this.#instance = runtime.random.bytes(4).toString('hex')
    this.#startedWallMs = runtime.clock.wallMs()
  }

  get listeners(): number {
    return this.#listeners.size
  }

  /** The id of the last event; what a new listener is told first. */
  get lastId(): string {
    return this.#idOf(Math.floor(this.#runtime.clock.wallMs()), this.#number)
  }

  publish(event: Omit<ServerEvent, 'at'>): void {
    const wallMs = Math.floor(this.#runtime.clock.wallMs())
    const number = ++this.#number
    const at = new Date(wallMs).toISOString()
    const json = JSON.stringify({ ...event, at } satisfies ServerEvent)
    const numbered = { id: this.#idOf(wallMs, number), number, wallMs, topic: event.topic, json }
    this.#keep(numbered)
    for (const listener of this.#listeners) listener(numbered)
  }

  /** False when there are too many. */
  subscribe(listener: EventListener): boolean {
    if (this.#listeners.size >= LISTENERS_MAX) return false
    this.#listeners.add(listener)
    return true
  }

  unsubscribe(listener: EventListener): void {
    this.#listeners.delete(listener)
  }

  /** What came after the id; undefined when that is no longer known. */
  since(lastId: string): readonly NumberedEvent[] | undefined {
    const [, ms = '', number = '', instance] =
      /^(\d{1,15})\.(\d{1,15})\.([0-9a-f]{8})$/.exec(lastId) ?? []
    if (instance === undefined) return undefined
    const kept = this.#events.slice(this.#first)
    if (instance === this.#instance) {
      const oldest = this.#number - kept.length
      return Number(number) >= oldest ? kept.slice(Number(number) - oldest) : undefined
    }
    const fromMs = Number(ms) - OVERLAP_MS
    const knownFromMs =
      kept.length === this.#number ? this.#startedWallMs : (kept[0]?.wallMs ?? Infinity)
    return knownFromMs <= fromMs ? kept.filter((event) => event.wallMs >= fromMs) : undefined
  }

  #idOf(wallMs: number, number: number): string {
    return `${wallMs}.${number}.${this.#instance}`
  }

  #keep(event: NumberedEvent): void {
    this.#events.push(event)
    this.#bytes += event.json.length
    while (this.#events.length - this.#first > EVENTS_MAX || this.#bytes > BYTES_MAX) {
      this.#bytes -= this.#events[this.#first]?.json.length ?? 0
      this.#first++
    }
    if (this.#first > 1000 && this.#first * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#first)
      this.#first = 0
    }
  }
}
