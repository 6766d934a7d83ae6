/**
 * What the gateways of the fleet say of a table when they are asked (gateway.md 14; admin-ui.md 3.3):
 * what each serves, and who asked it.
 *
 *     GET /tables/{t}/routes    → TableRoutes
 *     GET /tables/{t}/clients   → TableClients
 *     GET /tables:rates         → TableRates
 */
import { type Static, Type } from 'typebox'
import { askedOfFleet } from './requests.ts'

/** What one gateway answers clients now, as it says itself. */
export const ServedRoute = Type.Object(
  {
    /** `unread`: nobody has asked this gateway; the first query reads ZooKeeper. */
    kind: Type.String({ description: 'route, missing, invalid, unavailable or unread' }),
    cluster: Type.Optional(Type.String()),
    metas: Type.Optional(Type.Array(Type.String())),
    /** With a redirect in force: the cluster that the mapping names, and the plan. */
    mappedCluster: Type.Optional(Type.String()),
    plan: Type.Optional(Type.String()),
    /** Changes of this gateway's routes so far. */
    epoch: Type.Integer(),
    /** Of the mapping node that it was read from. */
    zxid: Type.Optional(Type.String()),
    version: Type.Optional(Type.Integer()),
    readAgoMs: Type.Optional(Type.Integer()),
    /** Since when ZooKeeper could not confirm it; absent while it is watched. */
    unconfirmedMs: Type.Optional(Type.Integer()),
    /** Worker processes of this gateway that answer something else. */
    differing: Type.Array(
      Type.Object({
        process: Type.String(),
        kind: Type.String(),
        cluster: Type.Optional(Type.String()),
      }),
    ),
  },
  { title: 'ServedRoute' },
)
export type ServedRoute = Static<typeof ServedRoute>

/**
 * Is any gateway serving an old route? Every gateway of the fleet is asked; those that did not answer
 * within a second are named too.
 */
export const TableRoutes = Type.Object(
  {
    ...askedOfFleet,
    /** What they should serve: the mapping node, if there is one, with the redirect in force. */
    wanted: Type.Object({
      kind: Type.String({
        description: 'route, missing, or invalid: then the last good route stays',
      }),
      cluster: Type.Optional(Type.String()),
      metas: Type.Optional(Type.Array(Type.String())),
      zxid: Type.Optional(Type.String()),
      version: Type.Optional(Type.Integer()),
    }),
    fleetEpoch: Type.Integer(),
    gateways: Type.Array(
      Type.Object({
        id: Type.String(),
        self: Type.Boolean(),
        appliedEpoch: Type.Integer(),
        behind: Type.Integer(),
        serves: Type.Optional(ServedRoute),
        /** It serves what is wanted, or will when it is first asked; absent without an answer. */
        agrees: Type.Optional(Type.Boolean()),
      }),
    ),
  },
  { title: 'TableRoutes' },
)
export type TableRoutes = Static<typeof TableRoutes>

export const TableClient = Type.Object(
  {
    /** Without port: all connections of a machine, or of what it comes through. */
    address: Type.String(),
    /** Gateways that it asked. */
    gateways: Type.Array(Type.String()),
    firstQueryAt: Type.String({ format: 'date-time' }),
    lastQueryAt: Type.String({ format: 'date-time' }),
    queries: Type.Integer(),
    /** Of the last query, as is all that follows. */
    headerVersion: Type.Union([Type.Literal(0), Type.Literal(1), Type.Literal('native')]),
    /** Those that send such queries: c++, java, pegasus-metaproxy, go, python, node; none: unknown. */
    libraries: Type.Array(Type.String()),
    /** All partitions were asked for. */
    isWhole: Type.Boolean(),
    result: Type.String({
      description: 'relayed, no-table, invalid-mapping, unavailable, unreadable or limited',
    }),
    /** The cluster that its last relayed answer came from. */
    cluster: Type.Optional(Type.String()),
    /** It asked before the last change of the cluster, and not since: it still talks to the old one. */
    slow: Type.Boolean(),
  },
  { title: 'TableClient' },
)
export type TableClient = Static<typeof TableClient>

/** Of the last 24 hours, the slow ones first, then the newest. Every gateway is asked. */
export const TableClients = Type.Object(
  {
    ...askedOfFleet,
    /** Served now, by the gateway that answers this request or else by another one. */
    cluster: Type.Optional(Type.String()),
    /** Addresses in all, and those that are slow to move; at least so many when `truncated`. */
    total: Type.Integer(),
    slow: Type.Integer(),
    /** Some are left out or were forgotten because there were too many. */
    truncated: Type.Boolean(),
    clients: Type.Array(TableClient),
  },
  { title: 'TableClients' },
)
export type TableClients = Static<typeof TableClients>

/**
 * Queries per second of tables, in the whole fleet, between this answer and one of up to a minute
 * before. Asked of all gateways every five seconds at most, however many want to know.
 */
export const TableRates = Type.Object(
  {
    ...askedOfFleet,
    /** Between the two; left out when there was none before: ask again in some seconds. */
    overSeconds: Type.Optional(Type.Number({ minimum: 0 })),
    /** Gateways that are not in the rates yet, because they or their workers have just started. */
    pending: Type.Array(Type.String()),
    /**
     * Each process counts its first 500 tables; others are missing, or some of their queries are. When
     * false, a table that is not named was not asked for.
     */
    truncated: Type.Boolean(),
    rates: Type.Record(Type.String(), Type.Number({ minimum: 0 })),
  },
  { title: 'TableRates' },
)
export type TableRates = Static<typeof TableRates>
