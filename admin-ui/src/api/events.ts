/**
 * The stream of server-sent events, turned into react-query invalidations. Events are gathered and
 * told at most four times a second, queries read again at most once, whatever the number of events,
 * so that a storm neither freezes the page nor floods the API. When the stream is down, pages poll (see `usePolling`).
 */
import { useQueryClient, type QueryClient } from '@tanstack/react-query'
import { useEffect, useSyncExternalStore } from 'react'
import type { EventTopic, ServerEvent } from '../../../gateway/admin/api/events.ts'
import { pathOf } from './http.ts'

const GATHER_MS = 250
const POLL_MS = 5000
/** Between two rounds of reading again. */
const PAUSE_MS = 1000

export type StreamState = 'connecting' | 'live' | 'down'

/** First words of the query keys that a topic makes stale. */
const touched: Readonly<Record<EventTopic, readonly string[]>> = {
  // The list itself is patched row by row (tables/use-table-list.ts).
  tables: ['table', 'overview', 'clusters', 'groups'],
  clusters: ['clusters', 'cluster', 'overview'],
  groups: ['groups', 'group', 'overview'],
  gateways: ['gateways', 'overview'],
  audit: ['audit', 'history'],
  zookeeper: ['overview'],
  apply: [],
  approvals: ['approvals'],
  stream: [],
}

type Listener = (events: readonly ServerEvent[]) => void

class EventStream {
  #source: EventSource | undefined
  #state: StreamState = 'connecting'
  #gathered: ServerEvent[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  #users = 0
  readonly #listeners = new Set<Listener>()
  readonly #stateListeners = new Set<() => void>()

  get state(): StreamState {
    return this.#state
  }

  /** Calls back with the gathered events; answers the stop. The first user opens the stream. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    if (this.#users++ === 0) this.#open()
    return () => {
      this.#listeners.delete(listener)
      if (--this.#users === 0) this.#close()
    }
  }

  onState(listener: () => void): () => void {
    this.#stateListeners.add(listener)
    return () => this.#stateListeners.delete(listener)
  }

  #open(): void {
    const source = new EventSource(pathOf('/events'))
    this.#source = source
    source.addEventListener('open', () => this.#enter('live'))
    source.addEventListener('error', () => {
      this.#enter('down')
      // The browser does not come back by itself from a refusal, such as a session that ended.
      if (source.readyState === EventSource.CLOSED)
        setTimeout(() => {
          if (this.#source === source && this.#users > 0) this.#open()
        }, POLL_MS)
    })
    source.addEventListener('message', ({ data }: MessageEvent<string>) => {
      this.#gathered.push(JSON.parse(data) as ServerEvent)
      this.#timer ??= setTimeout(() => this.#tell(), GATHER_MS)
    })
  }

  #close(): void {
    this.#source?.close()
    this.#source = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#gathered = []
    this.#enter('connecting')
  }

  #tell(): void {
    this.#timer = undefined
    const events = this.#gathered
    this.#gathered = []
    for (const listener of this.#listeners) listener(events)
  }

  #enter(state: StreamState): void {
    if (this.#state === state) return
    this.#state = state
    for (const listener of this.#stateListeners) listener()
  }
}

const stream = new EventStream()

export function useStreamState(): StreamState {
  return useSyncExternalStore(
    (listener) => stream.onState(listener),
    () => stream.state,
  )
}

/** For `refetchInterval`: nothing while events arrive, a poll while they do not. */
export function usePolling(): number | false {
  return useStreamState() === 'live' ? false : POLL_MS
}

/**
 * Reads again what events made stale, one round after the other with a pause between them: under a
 * storm every round still comes to its end, and what came meanwhile makes one more round.
 */
class Rounds {
  readonly #queries: QueryClient
  #waiting: ServerEvent[] = []
  #isRunning = false

  constructor(queries: QueryClient) {
    this.#queries = queries
  }

  add(events: readonly ServerEvent[]): void {
    this.#waiting.push(...events)
    if (!this.#isRunning) void this.#run()
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    while (this.#waiting.length > 0) {
      const events = this.#waiting
      this.#waiting = []
      await invalidate(this.#queries, events)
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
    this.#isRunning = false
  }
}

function invalidate(queries: QueryClient, events: readonly ServerEvent[]): Promise<void> {
  if (events.some(({ topic, type }) => topic === 'stream' && type === 'reset'))
    return queries.invalidateQueries()
  const words = new Set(events.flatMap(({ topic }) => touched[topic] ?? []))
  const names = new Set(events.filter(({ topic }) => topic === 'tables').map(({ name }) => name))
  return queries.invalidateQueries({
    predicate: ({ queryKey: [word, name] }) =>
      typeof word === 'string' &&
      words.has(word) &&
      // A single table's queries are concerned by its own events alone.
      (word !== 'table' || typeof name !== 'string' || names.has(name)),
  })
}

/** Keeps the queries true while the page is open; once, at the top. */
export function useLiveQueries(): void {
  const queries = useQueryClient()
  useEffect(() => {
    const rounds = new Rounds(queries)
    return stream.listen((events) => rounds.add(events))
  }, [queries])
}

/** Gathered events, for a list that flashes changed rows or an apply that shows progress. */
export function useEvents(listener: Listener): void {
  useEffect(() => stream.listen(listener), [listener])
}
