/**
 * `GET /api/v1/events` (gateway.md 14): server-sent events. Every message has an `id` and, as its
 * data, one `ServerEvent` in JSON; the `event` field is not used, so `onmessage` gets all of them.
 * After a reconnect with `Last-Event-ID` (EventSource sends it by itself) the events since then come
 * first, for at least ten minutes back; when they are no longer known, or were too many, the first
 * event is `stream`/`reset`: read everything anew. A comment line every 15 s keeps the stream alive.
 *
 * An event says that something changed, and enough to update a row; it may come twice. A table whose
 * state is another one because of something else, such as a redirect, has changed too. Connections and
 * load of a gateway move all the time and are no event. Under a storm gather events by `topic` and
 * `name` and act once a frame. A client that does not keep up falls back, and is told to read
 * everything anew when what it lacks is no longer kept.
 */
import { type Static, Type } from 'typebox'

export const eventTopics = [
  'tables',
  'clusters',
  'groups',
  'gateways',
  'audit',
  'zookeeper',
  'apply',
  'approvals',
  'stream',
] as const
export type EventTopic = (typeof eventTopics)[number]

export const EventsQuery = Type.Object(
  {
    topics: Type.Optional(
      Type.String({
        maxLength: 200,
        description: `With commas: ${eventTopics.join(', ')}; all when left out`,
      }),
    ),
  },
  { additionalProperties: false },
)

/**
 * `tables`, `clusters`, `groups`, `gateways`: created, changed, deleted; `audit`: appended; `name` is
 * then its number; `zookeeper`: state, `name` is then the state; `apply`: progress, `name` is the
 * token of a preview or the id of an approval; `approvals`: created, changed, deleted; `stream`: hello (first of a new stream) or reset.
 */
export const ServerEvent = Type.Object(
  {
    topic: Type.Unsafe<EventTopic>(Type.Union(eventTopics.map((topic) => Type.Literal(topic)))),
    type: Type.String(),
    name: Type.String(),
    at: Type.String({ format: 'date-time' }),
    /** Of a table: what a list shows. */
    etag: Type.Optional(Type.String()),
    state: Type.Optional(Type.String()),
    cluster: Type.Optional(Type.String()),
    clusterBefore: Type.Optional(Type.String()),
    /** When redirected: where it is sent, and by which plan. */
    redirect: Type.Optional(Type.Object({ to: Type.String(), plan: Type.String() })),
    /** Who did it, when that is known: source is `external` for other tools. */
    actor: Type.Optional(Type.String()),
    source: Type.Optional(Type.String()),
    /** Of an apply. */
    progress: Type.Optional(
      Type.Object({
        done: Type.Integer(),
        failed: Type.Integer(),
        skipped: Type.Integer(),
        total: Type.Integer(),
      }),
    ),
  },
  { title: 'ServerEvent' },
)
export type ServerEvent = Static<typeof ServerEvent>
