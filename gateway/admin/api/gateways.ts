/**
 * `/api/v1/gateways` and `/api/v1/overview` (gateway.md 14; admin-ui.md 3.1, 3.10): the fleet as its
 * ephemeral nodes tell of it, and the counts of the first page.
 *
 *     GET /gateways       → GatewayList
 *     GET /overview       → Overview
 */
import { type Static, Type } from 'typebox'
import { Freshness } from './requests.ts'

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
    draining: Type.Boolean(),
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
