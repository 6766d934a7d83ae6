/** The columns of the list of tables: what stands in them, how wide they are, which may be hidden. */
import type { ReactNode } from 'react'
import { Link } from 'wouter'
import type { Table } from '../../../gateway/admin/api/tables.ts'
import { Ago } from '../design/age.tsx'
import type { TextKey } from '../text/text.tsx'
import styles from './table-grid.module.css'
import { TableStateMark } from './table-state.tsx'

export const columnKeys = ['cluster', 'metas', 'group', 'state', 'changed', 'note'] as const
export type ColumnKey = (typeof columnKeys)[number]
export const shownAtFirst: readonly ColumnKey[] = ['cluster', 'metas', 'group', 'state', 'changed']

export interface TableColumn {
  readonly key: ColumnKey | 'name'
  readonly label: TextKey
  /** Of a grid track. */
  readonly width: string
  /** For `sort`; undefined where the API cannot. */
  readonly sort?: string
  readonly cell: (table: Table) => ReactNode
}

export const tableHref = (name: string): string => `/tables/${encodeURIComponent(name)}`

export function ClusterLink({ name }: { readonly name: string | undefined }) {
  return name === undefined ? (
    '–'
  ) : (
    <Link href={`/clusters/${encodeURIComponent(name)}`}>{name}</Link>
  )
}

export const nameColumn: TableColumn = {
  key: 'name',
  label: 'tables.name',
  width: 'minmax(12rem, 2fr)',
  sort: 'name',
  cell: ({ name }) => (
    <a href={tableHref(name)} className={styles.name} tabIndex={-1}>
      {name}
    </a>
  ),
}

export const columns: Readonly<Record<ColumnKey, TableColumn>> = {
  cluster: {
    key: 'cluster',
    label: 'tables.cluster',
    width: 'minmax(7rem, 1fr)',
    sort: 'cluster',
    cell: ({ cluster, redirect }) =>
      redirect === undefined ? (cluster ?? '–') : `${cluster ?? '–'} → ${redirect.to}`,
  },
  metas: {
    key: 'metas',
    label: 'tables.metas',
    width: '5rem',
    cell: ({ metas }) =>
      metas === undefined ? '–' : <span title={metas.join(', ')}>{metas.length}</span>,
  },
  group: {
    key: 'group',
    label: 'tables.group',
    width: 'minmax(6rem, 1fr)',
    sort: 'group',
    cell: ({ memberOf }) => memberOf.join(', '),
  },
  state: {
    key: 'state',
    label: 'tables.state',
    width: '7.5rem',
    sort: 'state',
    cell: ({ state }) => <TableStateMark state={state} />,
  },
  changed: {
    key: 'changed',
    label: 'tables.changed',
    width: 'minmax(13rem, 1fr)',
    sort: 'changed',
    cell: ({ modifiedAt, changedBy }) => (
      <>
        <Ago at={modifiedAt} />
        {changedBy !== undefined && <span className={styles.by}> · {changedBy.actor}</span>}
      </>
    ),
  },
  note: {
    key: 'note',
    label: 'tables.note',
    width: 'minmax(10rem, 2fr)',
    cell: ({ note }) => note ?? '',
  },
}
