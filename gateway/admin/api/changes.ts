/**
 * Changing many mappings (gateway.md 14; admin-ui.md 3.4 and 3.5).
 *
 *     POST /tables:batch     BatchRequest → BatchResult; at once, atomic or item by item
 *     POST /tables:import    ImportRequest → ChangeSet      a preview; nothing changes
 *     POST /tables:preview   BulkEditRequest → ChangeSet    the same edit for many tables
 *     POST /clusters/{c}:replace-meta, :adopt → ChangeSet   (`clusters.ts`)
 *     POST /tables:apply     ApplyRequest → ApplyResult     carries a preview out
 *     GET  /tables:export    ExportQuery → a file, JSON or CSV
 *
 * A preview lives 15 minutes, can be applied at any gateway, once. What changed since the preview is
 * skipped and listed. Progress of an apply is told by events of topic `apply`. A batch or an apply of more
 * changes than `approval.bulkAbove` is answered with 202 and waits (`approvals.ts`).
 */
import { type Static, Type } from 'typebox'
import { FieldError, Problem } from './problem.ts'
import { tableName } from './requests.ts'
import { Table, TableEdit, TableFilter, TablePatch, tableFilters } from './tables.ts'

export const ATOMIC_MAX = 200
export const BATCH_MAX = 1000
/** Items of one preview. */
export const CHANGE_SET_MAX = 20_000

const ifMatch = Type.Optional(
  Type.String({ maxLength: 200, description: 'ETag; left out: whatever is there' }),
)

export const BatchChange = Type.Union(
  [
    Type.Object(
      { action: Type.Literal('create'), name: tableName, edit: TableEdit },
      { additionalProperties: false },
    ),
    Type.Object(
      { action: Type.Literal('replace'), name: tableName, ifMatch, edit: TableEdit },
      { additionalProperties: false },
    ),
    Type.Object(
      { action: Type.Literal('patch'), name: tableName, ifMatch, patch: TablePatch },
      { additionalProperties: false },
    ),
    Type.Object(
      { action: Type.Literal('delete'), name: tableName, ifMatch },
      { additionalProperties: false },
    ),
  ],
  { title: 'BatchChange' },
)
export type BatchChange = Static<typeof BatchChange>

/** `atomic`: all or nothing, at most 200 changes; otherwise item by item, at most 1000. */
export const BatchRequest = Type.Object(
  {
    atomic: Type.Boolean(),
    changes: Type.Array(BatchChange, { minItems: 1, maxItems: BATCH_MAX }),
  },
  { additionalProperties: false, title: 'BatchRequest' },
)
export type BatchRequest = Static<typeof BatchRequest>

/** `skipped`: it changed since it was seen, or, when atomic, another item failed. */
export const ItemResult = Type.Object(
  {
    name: Type.String(),
    status: Type.Union([Type.Literal('done'), Type.Literal('failed'), Type.Literal('skipped')]),
    /** What is there now; absent after a deletion. */
    table: Type.Optional(Table),
    problem: Type.Optional(Problem),
  },
  { title: 'ItemResult' },
)
export type ItemResult = Static<typeof ItemResult>

/** Of a dry run and a preview; the request itself is answered with 202 then (`approvals.ts`). */
const needsApproval = Type.Optional(
  Type.Boolean({ description: 'So many changes wait for a second person' }),
)

/** In the order of the request. An atomic batch that failed changed nothing: `done` is 0. */
export const BatchResult = Type.Object(
  {
    results: Type.Array(ItemResult),
    done: Type.Integer(),
    failed: Type.Integer(),
    skipped: Type.Integer(),
    needsApproval,
  },
  { title: 'BatchResult' },
)
export type BatchResult = Static<typeof BatchResult>
export const ApplyResult = BatchResult
export type ApplyResult = BatchResult

/**
 * `merge` creates and changes; `replace` also deletes what the file does not name. `text` is the
 * file: JSON as exported (or a list of {"name", "cluster", "metas", …}), or CSV with the header
 * `table,cluster,metas,group,note` (metas separated by commas in quotes, or by blanks or semicolons).
 */
export const ImportRequest = Type.Object(
  {
    format: Type.Union([Type.Literal('json'), Type.Literal('csv')]),
    mode: Type.Optional(Type.Union([Type.Literal('merge'), Type.Literal('replace')])),
    text: Type.String({ maxLength: 4 * 1024 * 1024 }),
  },
  { additionalProperties: false, title: 'ImportRequest' },
)
export type ImportRequest = Static<typeof ImportRequest>

export const TableSelection = Type.Union([
  Type.Object(
    { names: Type.Array(tableName, { minItems: 1, maxItems: CHANGE_SET_MAX }) },
    { additionalProperties: false },
  ),
  Type.Object({ filter: TableFilter }, { additionalProperties: false }),
])
export type TableSelection = Static<typeof TableSelection>

/** One edit for many tables, or their deletion. Give `patch` or `delete: true`. */
export const BulkEditRequest = Type.Object(
  {
    select: TableSelection,
    patch: Type.Optional(TablePatch),
    delete: Type.Optional(Type.Literal(true)),
  },
  { additionalProperties: false, title: 'BulkEditRequest' },
)
export type BulkEditRequest = Static<typeof BulkEditRequest>

export const changeKinds = ['create', 'change', 'delete', 'same', 'invalid'] as const
export type ChangeKind = (typeof changeKinds)[number]

export const ChangeItem = Type.Object(
  {
    kind: Type.Unsafe<ChangeKind>(Type.Union(changeKinds.map((kind) => Type.Literal(kind)))),
    /** '' for a line so broken that no name could be read. */
    name: Type.String(),
    /** Line of the file, from 1. */
    line: Type.Optional(Type.Integer()),
    /** The node's text now and then. */
    before: Type.Optional(Type.String()),
    after: Type.Optional(Type.String()),
    /** Why it is invalid. */
    errors: Type.Optional(Type.Array(FieldError)),
  },
  { title: 'ChangeItem' },
)
export type ChangeItem = Static<typeof ChangeItem>

/** A preview. Invalid items are never applied; the others are, as far as `include` says. */
export const ChangeSet = Type.Object(
  {
    token: Type.String(),
    expiresAt: Type.String({ format: 'date-time' }),
    /** import, bulk-edit, replace-meta or adopt. */
    origin: Type.String(),
    counts: Type.Object({
      create: Type.Integer(),
      change: Type.Integer(),
      delete: Type.Integer(),
      same: Type.Integer(),
      invalid: Type.Integer(),
    }),
    needsApproval,
    items: Type.Array(ChangeItem),
  },
  { title: 'ChangeSet' },
)
export type ChangeSet = Static<typeof ChangeSet>

/** Without `include` everything that is not invalid or the same. */
export const ApplyRequest = Type.Object(
  {
    token: Type.String({ minLength: 1, maxLength: 100 }),
    include: Type.Optional(Type.Array(tableName, { maxItems: CHANGE_SET_MAX })),
  },
  { additionalProperties: false, title: 'ApplyRequest' },
)
export type ApplyRequest = Static<typeof ApplyRequest>

/** With `names` (commas) only these, whatever the filters say. */
export const ExportQuery = Type.Object(
  {
    format: Type.Optional(Type.Union([Type.Literal('json'), Type.Literal('csv')])),
    names: Type.Optional(Type.String({ maxLength: 100_000 })),
    ...tableFilters,
  },
  { additionalProperties: false },
)
export type ExportQuery = Static<typeof ExportQuery>

/**
 * The exported file. `value` is the node's JSON where writing it again gives the very same text,
 * else `raw` is the text itself: importing an export changes no byte.
 */
export const ExportFile = Type.Object(
  {
    format: Type.Literal('metaproxy-tables/1'),
    exportedAt: Type.String({ format: 'date-time' }),
    root: Type.String(),
    tables: Type.Array(
      Type.Object({
        name: Type.String(),
        value: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
        raw: Type.Optional(Type.String()),
      }),
    ),
  },
  { title: 'ExportFile' },
)
export type ExportFile = Static<typeof ExportFile>
