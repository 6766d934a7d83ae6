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
