/** `GET /api/v1/events`: the hub's events as a stream of server-sent events (`api/events.ts`). */
import type { ServerResponse } from 'node:http'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { EventsQuery, type ServerEvent, eventTopics } from './api/events.ts'
import type { EventHub, NumberedEvent } from './event-hub.ts'
import { ApiError, badField } from './problem.ts'
import type { Api } from './requests.ts'

const HEARTBEAT_MS = 15_000
/** Unsent bytes at which a listener is disconnected; it comes back by its last id. */
const UNSENT_MAX = 1 << 20
/** More events than this are not replayed one by one. */
const REPLAY_MAX = 5000

export class EventStreams {
  readonly #runtime: Runtime
  readonly #hub: EventHub
  readonly #open = new Set<() => void>()

  constructor(runtime: Runtime, hub: EventHub) {
    this.#runtime = runtime
    this.#hub = hub
  }

  /** Ends every stream: a server does not close while one is open. */
  close(): void {
    for (const end of this.#open) end()
  }

  /** Writes to the response until one of the two sides ends. `isAllowed` is asked again and again. */
  serve(
    response: ServerResponse,
    options: {
      readonly lastId: string | undefined
      readonly topics: ReadonlySet<string>
      readonly isAllowed: () => Promise<boolean>
    },
  ): void {
    const { lastId, topics } = options
    const send = (id: string, json: string): void => {
      response.write(`id: ${id}\ndata: ${json}\n\n`)
      if (response.writableLength > UNSENT_MAX) end()
    }
    const listener = ({ id, topic, json }: NumberedEvent): void => {
      if (topics.has(topic)) send(id, json)
    }
    if (!this.#hub.subscribe(listener))
      throw new ApiError('busy', 'too many event streams are open')
    let timer = this.#runtime.timers.after(HEARTBEAT_MS, () => void beat())
    const end = (): void => {
      timer.cancel()
      this.#hub.unsubscribe(listener)
      this.#open.delete(end)
      response.destroy()
    }
    const beat = async (): Promise<void> => {
      if (!(await options.isAllowed())) return end()
      if (!this.#open.has(end)) return
      response.write(':\n\n')
      timer = this.#runtime.timers.after(HEARTBEAT_MS, () => void beat())
    }
    this.#open.add(end)
    response.on('close', end)
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    })
    const missed = lastId === undefined ? undefined : this.#hub.since(lastId)
    if (missed !== undefined && missed.length <= REPLAY_MAX) for (const one of missed) listener(one)
    else send(this.#hub.lastId, this.#streamEvent(lastId === undefined ? 'hello' : 'reset'))
  }

  #streamEvent(type: string): string {
    const at = new Date(this.#runtime.clock.wallMs()).toISOString()
    return JSON.stringify({ topic: 'stream', type, name: '', at } satisfies ServerEvent)
  }
}

export function topicsOf(text: string | undefined): ReadonlySet<string> {
  if (text === undefined || text === '') return new Set(eventTopics)
  const topics = text.split(',').map((topic) => topic.trim())
  const unknown = topics.find((topic) => !eventTopics.some((known) => known === topic))
  if (unknown !== undefined)
    throw badField('topics', `no topic ${unknown.slice(0, 50)}; known: ${eventTopics.join(', ')}`)
  return new Set([...topics, 'stream'])
}

export function eventRoutes(
  api: Api,
  streams: EventStreams,
  stillAllowed: (request: object) => Promise<boolean>,
): void {
  api.get(
    '/events',
    {
      schema: {
        tags: ['events'],
        summary: 'Server-sent events; see api/events.ts',
        querystring: EventsQuery,
        produces: ['text/event-stream'],
      },
    },
    (request, reply) => {
      const topics = topicsOf(request.query.topics)
      const header = request.headers['last-event-id']
      const lastId = typeof header === 'string' && header !== '' ? header : undefined
      streams.serve(reply.raw, {
        lastId,
        topics,
        isAllowed: () => stillAllowed(request),
      })
      // The response is the stream's from here on.
      return reply.hijack()
    },
  )
}
