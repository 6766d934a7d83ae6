/**
 * `/api/v1/tables` (gateway.md 14): mappings, their history, and what clusters and gateways say of
 * them.
 *
 *     GET    /tables                   TableQuery → TableList
 *     GET    /tables/{t}               → Table, with `etag`
 *     PUT    /tables/{t}               TableEdit, If-Match or If-None-Match: *   → Table
 *     PATCH  /tables/{t}               TablePatch (merge; null removes), If-Match → Table
 *     DELETE /tables/{t}               If-Match → 204
 *     GET    /tables/{t}/history       → TableHistory
 *     POST   /tables/{t}:revert        RevertRequest, If-Match (If-None-Match: * when it is deleted)
 *     POST   /tables/{t}:probe         ProbeRequest → ProbeResult; asks the metas now
 *     GET    /tables/{t}/route         → TableRoute; ZooKeeper, and how far gateways are
 *     GET    /tables/{t}/routes        → TableRoutes; asks every gateway what it serves
 *     GET    /tables/{t}/clients       → TableClients; asks every gateway who asked
 *     GET    /tables/{t}/snippet       → TableSnippet
 *
 * The four that change something answer `ChangePreview` with `?dry_run=true`, status 200.
 * Batch, import, export and bulk edits are in `changes.ts`, the answers of gateways in `table-fleet.ts`.
 */
import { type Static, Type } from 'typebox'
import { ChangeAuthor, FieldError } from './problem.ts'
import { Check, Freshness, StalePolicy, formed, metaList } from './requests.ts'

/**
 * The worst of what is known: `invalid`: the node holds no mapping; `dangling`: its cluster has no
 * such table; `redirected`: a running switch sends it elsewhere; `drifted`: its metas are not those
 * of the cluster's registry entry, or those of other tables of a cluster that has none; `frozen`: no
 * edits. `dangling` needs the list of tables of the cluster that serves it, which is asked for by
 * `/clusters/{c}/tables` and remembered for ten minutes.
 */
export const TableState = Type.Union(
  (['ok', 'invalid', 'dangling', 'redirected', 'drifted', 'frozen'] as const).map((state) =>
    Type.Literal(state),
  ),
  { title: 'TableState' },
)
export type TableState = 'ok' | 'invalid' | 'dangling' | 'redirected' | 'drifted' | 'frozen'

/** One mapping node. `valid: false`: it holds no mapping; then `problem` and `raw` tell of it. */
export const Table = Type.Object(
  {
    name: Type.String(),
    state: Type.Unsafe<TableState>(TableState),
    valid: Type.Boolean(),
    cluster: Type.Optional(Type.String()),
    metas: Type.Optional(Type.Array(Type.String())),
    /** Which keys the node's JSON has: rfc, go or both. */
    form: Type.Optional(Type.String()),
    group: Type.Optional(Type.String()),
    note: Type.Optional(Type.String()),
    frozen: Type.Optional(Type.Boolean()),
    stale: Type.Optional(Type.String()),
    standby: Type.Optional(Type.String()),
    /** Groups that it belongs to: by its own `group`, by their lists and by their patterns. */
    memberOf: Type.Array(Type.String()),
    /** When redirected: where it is sent, and by which plan. */
    redirect: Type.Optional(Type.Object({ to: Type.String(), plan: Type.String() })),
    problem: Type.Optional(FieldError),
    /** Send it as If-Match. */
    etag: Type.String(),
    /** ZooKeeper's version of the node. */
    version: Type.Integer(),
    modifiedAt: Type.String({ format: 'date-time' }),
    /** Absent while it is not known; always tried for a single table. */
    changedBy: Type.Optional(ChangeAuthor),
  },
  { title: 'Table' },
)
export type Table = Static<typeof Table>

export const tableSorts = ['name', 'cluster', 'group', 'state', 'changed'] as const

/** Which tables; shared by list, export and bulk edit. All of them are combined with *and*. */
export const tableFilters = {
  q: Type.Optional(
    Type.String({
      maxLength: 255,
      description: 'Part of name, cluster, group, note or a meta address; case does not matter',
    }),
  ),
  cluster: Type.Optional(Type.String({ maxLength: 255 })),
  group: Type.Optional(Type.String({ maxLength: 255, description: 'Member by any of the ways' })),
  state: Type.Optional(Type.Unsafe<TableState>(TableState)),
  invalid: Type.Optional(Type.Boolean({ description: 'Only nodes that hold no mapping' })),
  changed: Type.Optional(
    formed(
      '^([0-9]{1,6}[smhd]|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,12}Z)$',
      'a time such as 24h, or a moment such as 2026-01-31T08:00:00Z',
      'Changed within this time, such as 24h, or since this moment (UTC)',
    ),
  ),
} as const

export const TableFilter = Type.Object(tableFilters, { additionalProperties: false })
export type TableFilter = Static<typeof TableFilter>

export const TableQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
    cursor: Type.Optional(Type.String({ maxLength: 4096, description: 'Of the page before' })),
    ...tableFilters,
    sort: Type.Optional(
      formed(
        `^-?(${tableSorts.join('|')})$`,
        `${tableSorts.join(', ')}, or one with - before it`,
        `One of ${tableSorts.join(', ')}; with - before it: descending`,
      ),
    ),
    fields: Type.Optional(
      Type.String({ maxLength: 500, description: 'Only these, with commas; name is always there' }),
    ),
  },
  { additionalProperties: false },
)
export type TableQuery = Static<typeof TableQuery>

const listFacts = {
  /** For the next page; absent on the last one. */
  cursor: Type.Optional(Type.String()),
  /** Of all pages. */
  total: Type.Integer(),
  asOf: Freshness,
}

/** What is answered without `fields`. */
export interface TableList {
  readonly tables: readonly Table[]
  readonly cursor?: string
  readonly total: number
  readonly asOf: Freshness
}

/** The schema of the list: with `fields` all but `name` may be left out. */
export const SparseTableList = Type.Object(
  {
    tables: Type.Array(Type.Object({ ...Type.Partial(Table).properties, name: Type.String() })),
    ...listFacts,
  },
  { title: 'TableList' },
)

const optionalKeys = {
  group: Type.String({ maxLength: 255 }),
  note: Type.String({ maxLength: 4096 }),
  frozen: Type.Boolean({ description: 'No edits except the one that thaws it' }),
  stale: StalePolicy,
  standby: Type.String({ maxLength: 255, description: 'The cluster that it is duplicated to' }),
}
const cluster = Type.String({ minLength: 1, maxLength: 255 })

/** The whole mapping: an optional key that is left out is removed. Foreign keys of the node stay. */
export const TableEdit = Type.Object(
  {
    cluster,
    /** Left out: those of the cluster's registry entry. */
    metas: Type.Optional(metaList),
    group: Type.Optional(optionalKeys.group),
    note: Type.Optional(optionalKeys.note),
    frozen: Type.Optional(optionalKeys.frozen),
    stale: Type.Optional(optionalKeys.stale),
    standby: Type.Optional(optionalKeys.standby),
  },
  { additionalProperties: false, title: 'TableEdit' },
)
export type TableEdit = Static<typeof TableEdit>

/** What shall differ; null removes an optional key. A new cluster without metas takes its own. */
export const TablePatch = Type.Object(
  {
    cluster: Type.Optional(cluster),
    metas: Type.Optional(metaList),
    group: Type.Optional(Type.Union([optionalKeys.group, Type.Null()])),
    note: Type.Optional(Type.Union([optionalKeys.note, Type.Null()])),
    frozen: Type.Optional(Type.Union([optionalKeys.frozen, Type.Null()])),
    stale: Type.Optional(Type.Union([optionalKeys.stale, Type.Null()])),
    standby: Type.Optional(Type.Union([optionalKeys.standby, Type.Null()])),
  },
  { additionalProperties: false, title: 'TablePatch' },
)
export type TablePatch = Static<typeof TablePatch>

/** The answer to a dry run: what the node would hold, what was checked, and who would notice. */
export const ChangePreview = Type.Object(
  {
    dryRun: Type.Literal(true),
    action: Type.String({ description: 'create, change, delete or same' }),
    name: Type.String(),
    /** The node's text now and then; null where there is or would be none. */
    before: Type.Union([Type.String(), Type.Null()]),
    after: Type.Union([Type.String(), Type.Null()]),
    checks: Type.Array(Check),
    /** Gateways that would change their route. */
    gateways: Type.Integer(),
    /** Client addresses that asked for it in the last 24 hours; absent for a new table. */
    clients: Type.Optional(Type.Integer()),
  },
  { title: 'ChangePreview' },
)
export type ChangePreview = Static<typeof ChangePreview>

/** One version of a mapping; `external` ones were written by another tool. Newest first. */
export const HistoryEntry = Type.Object(
  {
    /** Number of the audit entry, rising; what `:revert` takes. */
    id: Type.Integer(),
    at: Type.String({ format: 'date-time' }),
    actor: Type.String(),
    source: Type.String(),
    action: Type.String({ description: 'create, change, delete, revert, import, …' }),
    reason: Type.Optional(Type.String()),
    approvedBy: Type.Optional(Type.String()),
    /** Text of the node before and after, exactly; null where there was none. */
    before: Type.Union([Type.String(), Type.Null()]),
    after: Type.Union([Type.String(), Type.Null()]),
    versions: Type.Optional(
      Type.Integer({
        description:
          'Versions of the node that it stands for, when other tools wrote faster than each was kept',
      }),
    ),
  },
  { title: 'HistoryEntry' },
)
export type HistoryEntry = Static<typeof HistoryEntry>

export const TableHistory = Type.Object(
  {
    entries: Type.Array(HistoryEntry),
    /** Versions kept of each table; older ones are only in the audit. */
    kept: Type.Integer(),
  },
  { title: 'TableHistory' },
)
export type TableHistory = Static<typeof TableHistory>

export const RevertRequest = Type.Object(
  {
    to: Type.Integer({ minimum: 0, description: 'Id of a history entry' }),
    /** `after` (default): as that change left it; `before`: as it was before that change. */
    side: Type.Optional(Type.Union([Type.Literal('after'), Type.Literal('before')])),
  },
  { additionalProperties: false, title: 'RevertRequest' },
)
export type RevertRequest = Static<typeof RevertRequest>

/** Without `metas` those of the mapping are asked: give them to try a mapping before it is saved. */
export const ProbeRequest = Type.Object(
  { metas: Type.Optional(metaList) },
  { additionalProperties: false, title: 'ProbeRequest' },
)
export type ProbeRequest = Static<typeof ProbeRequest>

export const MetaProbe = Type.Object(
  {
    address: Type.String(),
    reachable: Type.Boolean(),
    leader: Type.Boolean(),
    latencyMs: Type.Optional(Type.Number()),
    error: Type.Optional(Type.String()),
  },
  { title: 'MetaProbe' },
)
export type MetaProbe = Static<typeof MetaProbe>

export const PartitionProbe = Type.Object(
  {
    index: Type.Integer(),
    /** '' when it has none. */
    primary: Type.String(),
    secondaries: Type.Array(Type.String()),
    ballot: Type.String(),
    health: Type.Union([
      Type.Literal('healthy'),
      Type.Literal('short'),
      Type.Literal('no-primary'),
    ]),
  },
  { title: 'PartitionProbe' },
)
export type PartitionProbe = Static<typeof PartitionProbe>

export const ProbeResult = Type.Object(
  {
    askedAt: Type.String({ format: 'date-time' }),
    elapsedMs: Type.Integer(),
    metas: Type.Array(MetaProbe),
    /** Absent when no meta server could say. `exists: false`: it positively has none. */
    table: Type.Optional(
      Type.Object({
        exists: Type.Boolean(),
        appId: Type.Optional(Type.Integer()),
        partitionCount: Type.Optional(Type.Integer()),
        error: Type.Optional(Type.String()),
      }),
    ),
    partitions: Type.Array(PartitionProbe),
    checks: Type.Array(Check),
  },
  { title: 'ProbeResult' },
)
export type ProbeResult = Static<typeof ProbeResult>

/** What ZooKeeper holds and what gateways serve; the third view, the metas', is `:probe`. */
export const TableRoute = Type.Object(
  {
    zookeeper: Type.Object({
      path: Type.String(),
      raw: Type.String(),
      zxid: Type.String(),
      version: Type.Integer(),
      createdAt: Type.String({ format: 'date-time' }),
      modifiedAt: Type.String({ format: 'date-time' }),
    }),
    asOf: Freshness,
    /** Rises with every change through our tools; a gateway at this epoch serves what is above. */
    fleetEpoch: Type.Integer(),
    gateways: Type.Array(
      Type.Object({
        id: Type.String(),
        self: Type.Boolean(),
        appliedEpoch: Type.Integer(),
        behind: Type.Integer(),
        /** What it answers clients; only known of the gateway that answers this request. */
        serves: Type.Optional(
          Type.Object({
            kind: Type.String({ description: 'route, missing, invalid, unavailable or unread' }),
            cluster: Type.Optional(Type.String()),
            metas: Type.Optional(Type.Array(Type.String())),
          }),
        ),
      }),
    ),
  },
  { title: 'TableRoute' },
)
export type TableRoute = Static<typeof TableRoute>

export const TableSnippet = Type.Object(
  {
    /** Where clients connect, `host:port`. */
    endpoint: Type.String(),
    snippets: Type.Array(
      Type.Object({ language: Type.String(), file: Type.String(), text: Type.String() }),
    ),
  },
  { title: 'TableSnippet' },
)
export type TableSnippet = Static<typeof TableSnippet>
