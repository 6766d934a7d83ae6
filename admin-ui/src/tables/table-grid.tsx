/**
 * The list of tables as a grid of virtual rows: only those in sight are in the document, and a row
 * that leaves comes back as the next one that enters, so that ten thousand scroll as lightly as ten.
 * Keys: arrows or j and k move, x selects, Enter opens, e edits.
 */
import { useVirtualizer } from '@tanstack/react-virtual'
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from 'react'
import type { TableRates } from '../../../gateway/admin/api/table-fleet.ts'
import type { Table } from '../../../gateway/admin/api/tables.ts'
import { Icon } from '../design/icon.tsx'
import { useText } from '../text/text.tsx'
import { isSelected, type Selection, selectedCount } from './selection.ts'
import type { TableColumn } from './table-columns.tsx'
import { type RowActs, rowId, TableRow } from './table-row.tsx'
import styles from './table-grid.module.css'

const ROW_PX = 40
const OVERSCAN = 6
/** Further rows are asked for when this many are left below the last one in sight. */
const AHEAD = 60

export interface TableGridProps {
  readonly tables: readonly Table[]
  /** Of the whole list, loaded or not. */
  readonly total: number
  readonly columns: readonly TableColumn[]
  readonly rates: TableRates | undefined
  /** `name`, `-changed`, … */
  readonly sort: string
  readonly selection: Selection
  /** Names whose row changed a moment ago. */
  readonly flashing: ReadonlySet<string>
  readonly onSort: (sort: string) => void
  readonly onToggle: (name: string, extend: boolean) => void
  readonly onToggleAll: () => void
  readonly onOpen: (name: string) => void
  readonly onEdit: (name: string) => void
  readonly onNearEnd: () => void
}

export function TableGrid(props: TableGridProps) {
  const { tables, total, columns, selection, onNearEnd } = props
  const { t } = useText()
  const scroller = useRef<HTMLDivElement>(null)
  const [active, setActive] = useState(0)
  const rows = useVirtualizer({
    count: tables.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: OVERSCAN,
  })
  const items = rows.getVirtualItems()
  const last = items.at(-1)?.index ?? 0
  // Elements to show any range of rows with; a row is shown by the one of its index modulo their number.
  const slots = Math.ceil((rows.scrollRect?.height ?? 0) / ROW_PX) + 1 + 2 * OVERSCAN
  useEffect(() => {
    if (last >= tables.length - AHEAD && tables.length < total) onNearEnd()
  }, [last, tables.length, total, onNearEnd])
  const current = Math.min(active, tables.length - 1)
  const now = useRef(props)
  now.current = props
  const act = useMemo<RowActs>(
    () => ({
      onActive: setActive,
      onToggle: (name, extend) => now.current.onToggle(name, extend),
      onOpen: (name) => now.current.onOpen(name),
    }),
    [],
  )
  const move = (to: number): void => {
    const index = Math.max(0, Math.min(tables.length - 1, to))
    setActive(index)
    rows.scrollToIndex(index)
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const name = tables[current]?.name
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? ROW_PX) / ROW_PX) - 1)
    const steps: Readonly<Record<string, number>> = {
      ArrowDown: 1,
      j: 1,
      ArrowUp: -1,
      k: -1,
      PageDown: page,
      PageUp: -page,
      Home: -tables.length,
      End: tables.length,
    }
    const step = steps[event.key]
    if (step !== undefined) move(current + step)
    else if (name === undefined) return
    else if (event.key === 'x' || event.key === ' ') props.onToggle(name, event.shiftKey)
    else if (event.key === 'Enter') props.onOpen(name)
    else if (event.key === 'e') props.onEdit(name)
    else return
    event.preventDefault()
  }
  const tracks = [
    '2.5rem',
    ...columns.map(({ rem, part }) => (part === 0 ? `${rem}rem` : `minmax(${rem}rem, ${part}fr)`)),
  ].join(' ')
  const minWidth = `${columns.reduce((sum, { rem }) => sum + rem, 2.5)}rem`
  const isAll = selection.kind === 'all' || selectedCount(selection) >= total
  return (
    <div
      ref={scroller}
      className={styles.scroller}
      role="grid"
      aria-label={t('tables.list')}
      aria-rowcount={total + 1}
      aria-multiselectable="true"
      aria-activedescendant={tables.length > 0 ? rowId(current) : undefined}
      tabIndex={0}
      onKeyDown={onKeyDown}
    >
      <div
        className={styles.head}
        role="row"
        aria-rowindex={1}
        style={{ gridTemplateColumns: tracks, minWidth }}
      >
        <span role="columnheader" className={styles.check}>
          <input
            type="checkbox"
            aria-label={t('tables.selectAll')}
            checked={total > 0 && isAll}
            onChange={props.onToggleAll}
          />
        </span>
        {columns.map((column) => (
          <Head key={column.key} column={column} sort={props.sort} onSort={props.onSort} />
        ))}
      </div>
      <div
        className={styles.rows}
        style={{ height: rows.getTotalSize(), minWidth }}
        role="rowgroup"
        // Their order in the document is that of the slots, which is not that of the rows.
        aria-owns={items.map(({ index }) => rowId(index)).join(' ')}
      >
        {items
          .toSorted((a, b) => (a.index % slots) - (b.index % slots))
          .map(({ index, start }) => {
            const table = tables[index]
            if (table === undefined) return null
            return (
              <TableRow
                key={index % slots}
                table={table}
                index={index}
                start={start}
                tracks={tracks}
                columns={columns}
                rates={props.rates}
                isSelected={isSelected(selection, table.name)}
                isActive={index === current}
                isFlashing={props.flashing.has(table.name)}
                act={act}
              />
            )
          })}
      </div>
    </div>
  )
}

function Head(props: {
  readonly column: TableColumn
  readonly sort: string
  readonly onSort: (sort: string) => void
}) {
  const { column, sort, onSort } = props
  const { t } = useText()
  const isDown = sort === `-${column.sort}`
  const isUp = sort === column.sort
  const direction = isUp ? 'ascending' : isDown ? 'descending' : 'none'
  if (column.sort === undefined)
    return (
      <span role="columnheader" className={styles.cell} data-number={column.isNumber}>
        {t(column.label)}
      </span>
    )
  return (
    <span role="columnheader" aria-sort={direction} className={styles.cell}>
      <button
        type="button"
        className={styles.sort}
        data-direction={direction}
        onClick={() => onSort(isUp ? `-${column.sort}` : (column.sort ?? 'name'))}
      >
        {t(column.label)}
        {(isUp || isDown) && <Icon name="chevronDown" size={12} />}
      </button>
    </span>
  )
}
