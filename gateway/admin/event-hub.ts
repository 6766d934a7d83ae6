/**
 * What happened, for those who listen (gateway.md 14, `/events`): a ring of the last events with ids,
 * replay after a reconnect, and listeners that read
 * on from where they are, each at its own pace. The wire is `event-routes.ts`.
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

/** Told that there is something new. */
export type EventListener = () => void

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
    for (const listener of this.#listeners) listener()
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

  /** The number of the last event so far. */
  get number(): number {
    return this.#number
  }

  /** Up to `max` events behind a number; undefined when the next one is no longer known. */
  after(number: number, max: number): readonly NumberedEvent[] | undefined {
    const from = this.#events.length - (this.#number - number)
    return from < this.#first ? undefined : this.#events.slice(from, from + max)
  }

  /** The number of the last event that who has this id has seen; undefined when that is unknown. */
  numberOf(lastId: string): number | undefined {
    const [, ms = '', digits = '', instance] =
      /^(\d{1,15})\.(\d{1,15})\.([0-9a-f]{8})$/.exec(lastId) ?? []
    if (instance === undefined) return undefined
    const number = Number(digits)
    if (instance === this.#instance) return number <= this.#number ? number : undefined
    const fromMs = Number(ms) - OVERLAP_MS
    const oldest = this.#events[this.#first]
    const isWhole = oldest === undefined || oldest.number === 1
    const knownFromMs = isWhole ? this.#startedWallMs : oldest.wallMs
    if (knownFromMs > fromMs) return undefined
    for (let at = this.#first; at < this.#events.length; at++) {
      const event = this.#events[at]
      if (event !== undefined && event.wallMs >= fromMs) return event.number - 1
    }
    return this.#number
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
