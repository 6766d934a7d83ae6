/** The columns of the list of tables: what stands in them, how wide they are, which may be hidden. */
import type { ReactNode } from 'react'
import { Link } from 'wouter'
import type { TableRates } from '../../../gateway/admin/api/table-fleet.ts'
import type { Table } from '../../../gateway/admin/api/tables.ts'
import { Ago } from '../design/age.tsx'
import type { TextKey } from '../text/text.tsx'
import { Rate } from './rate.tsx'
import styles from './table-grid.module.css'
import { TableStateMark } from './table-state.tsx'

export const columnKeys = ['cluster', 'metas', 'group', 'state', 'rate', 'changed', 'note'] as const
export type ColumnKey = (typeof columnKeys)[number]
const usual: readonly ColumnKey[] = ['cluster', 'metas', 'group', 'state', 'rate', 'changed']
const narrow: readonly ColumnKey[] = ['cluster', 'state']

/** Until the reader chooses: on a phone what fits. */
export const shownAtFirst = (): readonly ColumnKey[] =>
  matchMedia('(max-width: 40rem)').matches ? narrow : usual

export interface TableColumn {
  readonly key: ColumnKey | 'name'
  readonly label: TextKey
  /** Least width in rem, and its part of what is left; 0: never wider. */
  readonly rem: number
  readonly part: number
  /** Stands at the end of the column, so that digits are below each other. */
  readonly isNumber?: true
  /** For `sort`; undefined where the API cannot. */
  readonly sort?: string
  /** `rates`: of the fleet, once they are known. */
  readonly cell: (table: Table, rates: TableRates | undefined) => ReactNode
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
  rem: 8,
  part: 2,
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
    rem: 5,
    part: 1,
    sort: 'cluster',
    cell: ({ cluster, redirect }) =>
      redirect === undefined ? (cluster ?? '–') : `${cluster ?? '–'} → ${redirect.to}`,
  },
  metas: {
    key: 'metas',
    label: 'tables.metas',
    rem: 5,
    part: 0,
    isNumber: true,
    cell: ({ metas }) =>
      metas === undefined ? '–' : <span title={metas.join(', ')}>{metas.length}</span>,
  },
  group: {
    key: 'group',
    label: 'tables.group',
    rem: 6,
    part: 1,
    sort: 'group',
    cell: ({ memberOf }) => memberOf.join(', '),
  },
  state: {
    key: 'state',
    label: 'tables.state',
    rem: 7,
    part: 0,
    sort: 'state',
    cell: ({ state }) => <TableStateMark state={state} />,
  },
  rate: {
    key: 'rate',
    label: 'tables.rate',
    rem: 6,
    part: 0,
    isNumber: true,
    cell: ({ name }, rates) => <Rate table={name} rates={rates} />,
  },
  changed: {
    key: 'changed',
    label: 'tables.changed',
    rem: 13,
    part: 1,
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
    rem: 10,
    part: 2,
    cell: ({ note }) => note ?? '',
  },
}
