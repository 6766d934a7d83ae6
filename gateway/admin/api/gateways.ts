/**
 * `/api/v1/gateways` and `/api/v1/overview` (gateway.md 14; admin-ui.md 3.1, 3.10): the fleet as its
 * ephemeral nodes tell of it, what one gateway says when it is asked, and the counts of the first page.
 *
 *     GET  /gateways              → GatewayList
 *     GET  /gateways/{id}         → GatewayDetail; asks that gateway, through ZooKeeper
 *     POST /gateways/{id}:drain   → Gateway; not ready, and its connections end
 *     POST /gateways/{id}:resume  → Gateway
 *     GET  /overview              → Overview
 */
import { type Static, Type } from 'typebox'
import { Freshness, askedOfFleet } from './requests.ts'

/**
 * How busy a gateway is, all its processes together (`gateway/load.ts`). Its node is written anew for
 * this alone when a figure moved by a fifth, else within a minute.
 */
export const GatewayLoad = Type.Object(
  {
    /** What the rates are of. */
    overSeconds: Type.Integer({ minimum: 0 }),
    /** Configuration queries, whatever the answer. */
    queriesPerSecond: Type.Number({ minimum: 0 }),
    /** Those that could not be served; unknown tables are no errors. */
    errorsPerSecond: Type.Number({ minimum: 0 }),
    /** An upper bound; left out when there were no queries. */
    p99Ms: Type.Optional(Type.Number({ minimum: 0 })),
    /** How late an event loop was at worst, rounded up to 20, 50, 100, 200, 500 … */
    loopLagMs: Type.Number({ minimum: 0 }),
    /** Tables in memory. */
    routes: Type.Integer({ minimum: 0 }),
  },
  { title: 'GatewayLoad' },
)
export type GatewayLoad = Static<typeof GatewayLoad>

export const Gateway = Type.Object(
  {
    id: Type.String(),
    /** The one that answers this request. */
    self: Type.Boolean(),
    version: Type.String(),
    startedAt: Type.Optional(Type.String()),
    host: Type.String(),
    rpc: Type.Array(Type.String()),
    http: Type.String(),
    workers: Type.Integer(),
    /** The last change of our tools that all its workers serve; `behind` counts what it lacks. */
    appliedEpoch: Type.Integer(),
    behind: Type.Integer(),
    routingEpoch: Type.Integer(),
    zookeeper: Type.String(),
    connections: Type.Integer(),
    /** Left out in its first seconds, and by versions that do not say it. */
    load: Type.Optional(GatewayLoad),
    /**
     * Of the configuration that should be equal in the whole fleet, as far as versions are: without
     * names, addresses and files, the number of workers, labels of metrics. Older ones leave it out.
     */
    configHash: Type.Optional(Type.String()),
    /** It says that it is draining: by a wish, or because it ends. */
    draining: Type.Boolean(),
    /** The wish of an operator; it holds until `:resume`, or the end of the process. */
    drain: Type.Optional(
      Type.Object({
        actor: Type.String(),
        at: Type.String({ format: 'date-time' }),
        reason: Type.Optional(Type.String()),
      }),
    ),
  },
  { title: 'Gateway' },
)
export type Gateway = Static<typeof Gateway>

export const GatewayList = Type.Object(
  {
    gateways: Type.Array(Gateway),
    total: Type.Integer(),
    fleetEpoch: Type.Integer(),
    asOf: Freshness,
  },
  { title: 'GatewayList' },
)
export type GatewayList = Static<typeof GatewayList>

export const LogLine = Type.Object(
  {
    at: Type.String({ format: 'date-time' }),
    level: Type.Union([Type.Literal('warn'), Type.Literal('error')]),
    event: Type.String(),
    /** `key=value`, blanks between. */
    fields: Type.String(),
    /** Name of the worker; absent: the process that the gateway is. */
    process: Type.Optional(Type.String()),
  },
  { title: 'LogLine' },
)
export type LogLine = Static<typeof LogLine>

/** What is missing besides `gateway` it did not say, for the reason in `silent`. */
export const GatewayDetail = Type.Object(
  {
    ...askedOfFleet,
    gateway: Gateway,
    /** Its last warnings and errors, up to 50, the newest first. */
    recent: Type.Optional(Type.Array(LogLine)),
    /** Every option with its value, secrets masked, and where it comes from. */
    config: Type.Optional(
      Type.Array(
        Type.Object({ path: Type.String(), value: Type.Unknown(), source: Type.String() }),
      ),
    ),
  },
  { title: 'GatewayDetail' },
)
export type GatewayDetail = Static<typeof GatewayDetail>

export const Overview = Type.Object(
  {
    tables: Type.Object({
      total: Type.Integer(),
      /** By `TableState`; states without tables are left out. */
      byState: Type.Record(Type.String(), Type.Integer()),
      changedLast24h: Type.Integer(),
    }),
    clusters: Type.Object({
      total: Type.Integer(),
      unregistered: Type.Integer(),
      drifted: Type.Integer(),
      unreachable: Type.Integer({
        description: 'Those where the last probe of the fleet found no leader',
      }),
    }),
    groups: Type.Object({ total: Type.Integer() }),
    gateways: Type.Object({
      total: Type.Integer(),
      behind: Type.Integer(),
      draining: Type.Integer(),
      degraded: Type.Integer(),
      versions: Type.Array(Type.String()),
    }),
    zookeeper: Type.Object({
      /** connecting, connected, suspended, expired or closed. */
      state: Type.String(),
      lastAnswerAgeMs: Type.Integer(),
    }),
    fleetEpoch: Type.Integer(),
    asOf: Freshness,
  },
  { title: 'Overview' },
)
export type Overview = Static<typeof Overview>
