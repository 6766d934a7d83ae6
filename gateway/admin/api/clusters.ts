/**
 * `/api/v1/clusters` (gateway.md 14): the registry of clusters, what they say of themselves now, and
 * the comparison of what a cluster has with what is mapped to it.
 *
 *     GET  /clusters                    → ClusterList; those registered and those that mappings name
 *     GET, PUT, DELETE /clusters/{c}    ClusterEdit → Cluster; ETags as with tables
 *     GET  /clusters/{c}/health         → ClusterHealth; asks now, at most once in 2 seconds
 *     GET  /clusters/{c}/tables         → ClusterTables
 *     POST /clusters/{c}:adopt          AdoptRequest → ChangeSet
 *     POST /clusters/{c}:replace-meta   ReplaceMetaRequest → ChangeSet
 */
import { type Static, Type } from 'typebox'
import { Freshness, metaList, metaText } from './requests.ts'
import { MetaProbe } from './tables.ts'

export const Cluster = Type.Object(
  {
    name: Type.String(),
    /** False: no registry entry, only mappings name it. */
    registered: Type.Boolean(),
    /** Of the registry; else of the mappings, those that most of them have. */
    metas: Type.Array(Type.String()),
    /** Its partner for disaster recovery. */
    peer: Type.Optional(Type.String()),
    note: Type.Optional(Type.String()),
    /** Tables mapped to it. */
    tables: Type.Integer(),
    /** Other sets of metas that mappings to it have. */
    drift: Type.Array(Type.Object({ metas: Type.Array(Type.String()), tables: Type.Integer() })),
    /** Of the registry entry. */
    etag: Type.Optional(Type.String()),
    version: Type.Optional(Type.Integer()),
    modifiedAt: Type.Optional(Type.String({ format: 'date-time' })),
  },
  { title: 'Cluster' },
)
export type Cluster = Static<typeof Cluster>

export const ClusterList = Type.Object(
  { clusters: Type.Array(Cluster), total: Type.Integer(), asOf: Freshness },
  { title: 'ClusterList' },
)
export type ClusterList = Static<typeof ClusterList>

/** Keys of the entry that are not named here stay as they are. */
export const ClusterEdit = Type.Object(
  {
    metas: metaList,
    peer: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
    note: Type.Optional(Type.String({ maxLength: 4096 })),
  },
  { additionalProperties: false, title: 'ClusterEdit' },
)
export type ClusterEdit = Static<typeof ClusterEdit>

/** `ok`: a leader and all nodes alive; `degraded`: a leader, but something lacks. */
export const ClusterHealth = Type.Object(
  {
    name: Type.String(),
    state: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('unreachable')]),
    /** Why it is not ok. */
    reasons: Type.Array(Type.String()),
    askedAt: Type.String({ format: 'date-time' }),
    elapsedMs: Type.Integer(),
    /** Since when it has been in this state, as far as this gateway has asked. */
    since: Type.String({ format: 'date-time' }),
    metas: Type.Array(MetaProbe),
    nodes: Type.Array(Type.Object({ address: Type.String(), alive: Type.Boolean() })),
    /**
     * What the fleet's last probe found: one gateway looks every few seconds, as a client would.
     * Absent before there was one, and of a cluster that is neither registered nor that of a table
     * which clients asked this gateway for.
     */
    probe: Type.Optional(
      Type.Object({
        at: Type.String({ format: 'date-time' }),
        /** The gateway that probed. */
        by: Type.String(),
        leaderReachable: Type.Boolean(),
        leader: Type.Optional(Type.String()),
        /** A table's configuration could be had; absent when the cluster has no table. */
        queryOk: Type.Optional(Type.Boolean()),
        elapsedMs: Type.Integer(),
        /** What went wrong first. */
        error: Type.Optional(Type.String()),
      }),
    ),
    /** What its leader says of itself: `meta_function_level`, `primary_meta_server` and so on. */
    info: Type.Record(Type.String(), Type.String()),
  },
  { title: 'ClusterHealth' },
)
export type ClusterHealth = Static<typeof ClusterHealth>

/**
 * `mapped`: here and mapped here; `unmapped`: here, no mapping; `elsewhere`: here, but mapped to
 * another cluster (a copy, or left behind); `dangling`: mapped here, but not here; `mismatched`:
 * mapped here by name, with metas that are none of this cluster's.
 */
export const ReconcileState = Type.Union(
  (['mapped', 'unmapped', 'elsewhere', 'dangling', 'mismatched'] as const).map((state) =>
    Type.Literal(state),
  ),
)
export type ReconcileState = 'mapped' | 'unmapped' | 'elsewhere' | 'dangling' | 'mismatched'

export const ClusterTable = Type.Object(
  {
    name: Type.String(),
    state: Type.Unsafe<ReconcileState>(ReconcileState),
    /** From the cluster. */
    appId: Type.Optional(Type.Integer()),
    partitionCount: Type.Optional(Type.Integer()),
    status: Type.Optional(Type.String()),
    /** From the mapping. */
    mappedTo: Type.Optional(Type.String()),
    metas: Type.Optional(Type.Array(Type.String())),
  },
  { title: 'ClusterTable' },
)
export type ClusterTable = Static<typeof ClusterTable>

export const ClusterTables = Type.Object(
  {
    askedAt: Type.String({ format: 'date-time' }),
    counts: Type.Record(Type.String(), Type.Integer()),
    tables: Type.Array(ClusterTable),
  },
  { title: 'ClusterTables' },
)
export type ClusterTables = Static<typeof ClusterTables>

/** Without `tables` all that are unmapped. */
export const AdoptRequest = Type.Object(
  { tables: Type.Optional(Type.Array(Type.String({ maxLength: 255 }), { maxItems: 20_000 })) },
  { additionalProperties: false, title: 'AdoptRequest' },
)
export type AdoptRequest = Static<typeof AdoptRequest>

/** `from` is replaced by `to` in the registry entry and in every mapping to this cluster. */
export const ReplaceMetaRequest = Type.Object(
  { from: metaText, to: metaText },
  { additionalProperties: false, title: 'ReplaceMetaRequest' },
)
export type ReplaceMetaRequest = Static<typeof ReplaceMetaRequest>
