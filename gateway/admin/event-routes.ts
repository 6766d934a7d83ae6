/** `GET /api/v1/events`: the hub's events as a stream of server-sent events (`api/events.ts`). */
import type { FastifyRequest } from 'fastify'
import type { ServerResponse } from 'node:http'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { EventsQuery, type ServerEvent, eventTopics } from './api/events.ts'
import type { EventHub } from './event-hub.ts'
import { ApiError, badField } from './problem.ts'
import type { Api } from './requests.ts'

const HEARTBEAT_MS = 15_000
/** Bytes given to the network ahead of the listener; the rest waits in the hub's ring. */
const UNSENT_MAX = 256 * 1024
const BATCH = 200

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
    const hub = this.#hub
    const seen = lastId === undefined ? undefined : hub.numberOf(lastId)
    let position = seen ?? hub.number
    const send = (id: string, json: string): boolean =>
      response.write(`id: ${id}\ndata: ${json}\n\n`)
    const restart = (type: 'hello' | 'reset'): void => {
      position = hub.number
      send(hub.lastId, this.#streamEvent(type))
    }
    /** Everybody reads the ring at their own pace; who falls out of it is told to start anew. */
    const pump = (): void => {
      while (position < hub.number && response.writableLength < UNSENT_MAX) {
        const batch = hub.after(position, BATCH)
        if (batch === undefined) return restart('reset')
        for (const { id, number, topic, json } of batch) {
          position = number
          if (topics.has(topic)) send(id, json)
        }
      }
    }
    if (!hub.subscribe(pump)) throw new ApiError('busy', 'too many event streams are open')
    let timer = this.#runtime.timers.after(HEARTBEAT_MS, () => void beat())
    let stuckAt: number | undefined
    const end = (): void => {
      timer.cancel()
      hub.unsubscribe(pump)
      this.#open.delete(end)
      response.destroy()
    }
    const beat = async (): Promise<void> => {
      // Not one byte taken between two beats: nobody listens any more.
      const isStuck = response.writableLength > 0 && stuckAt === response.writableLength
      if (isStuck || !(await options.isAllowed())) return end()
      if (!this.#open.has(end)) return
      response.write(':\n\n')
      stuckAt = response.writableLength
      timer = this.#runtime.timers.after(HEARTBEAT_MS, () => void beat())
    }
    this.#open.add(end)
    response.on('close', end)
    response.on('drain', pump)
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    })
    if (seen === undefined) restart(lastId === undefined ? 'hello' : 'reset')
    else {
      // Sends the head at once, whether anything was missed or not.
      response.write(':\n\n')
      pump()
    }
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
  stillAllowed: (request: FastifyRequest) => Promise<boolean>,
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
