/**
 * One row of the list of tables. The same elements show one table after another while the list
 * scrolls, so cells are plain: links are followed by the row, and nothing in them listens by itself.
 */
import { memo, type MouseEvent as RowClick } from 'react'
import type { TableRates } from '../../../gateway/admin/api/table-fleet.ts'
import type { Table } from '../../../gateway/admin/api/tables.ts'
import { useText } from '../text/text.tsx'
import type { TableColumn } from './table-columns.tsx'
import styles from './table-grid.module.css'

/** Of the list, the same as long as it is shown. */
export interface RowActs {
  readonly onActive: (index: number) => void
  readonly onToggle: (name: string, extend: boolean) => void
  readonly onOpen: (name: string) => void
}

export const rowId = (index: number): string => `table-row-${index}`

/** A click that the browser would not answer with a new tab or window. */
function isPlain({ button, metaKey, ctrlKey, shiftKey, altKey }: RowClick): boolean {
  return button === 0 && !metaKey && !ctrlKey && !shiftKey && !altKey
}

/** Drawn again only when something of it differs: scrolling draws none but those that come in sight. */
export const TableRow = memo(function TableRow(props: {
  readonly table: Table
  readonly index: number
  /** Pixels from the top of the list. */
  readonly start: number
  readonly tracks: string
  readonly columns: readonly TableColumn[]
  readonly rates: TableRates | undefined
  readonly isSelected: boolean
  readonly isActive: boolean
  readonly isFlashing: boolean
  readonly act: RowActs
}) {
  const { table, index, start, tracks, columns, act } = props
  const { t } = useText()
  const onClick = (event: RowClick): void => {
    act.onActive(index)
    const isLink = event.target instanceof Element && event.target.closest('a') !== null
    if (!isLink || !isPlain(event)) return
    event.preventDefault()
    act.onOpen(table.name)
  }
  return (
    <div
      id={rowId(index)}
      className={styles.row}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={props.isSelected}
      data-active={props.isActive}
      data-flashing={props.isFlashing}
      style={{ gridTemplateColumns: tracks, transform: `translateY(${start}px)` }}
      onClick={onClick}
      onDoubleClick={() => act.onOpen(table.name)}
    >
      <span role="gridcell" className={styles.check}>
        <input
          type="checkbox"
          tabIndex={-1}
          aria-label={t('tables.select', { name: table.name })}
          checked={props.isSelected}
          onChange={({ nativeEvent }) =>
            act.onToggle(table.name, nativeEvent instanceof MouseEvent && nativeEvent.shiftKey)
          }
        />
      </span>
      {columns.map((column) => (
        <span
          key={column.key}
          role="gridcell"
          className={styles.cell}
          data-number={column.isNumber}
        >
          {column.cell(table, props.rates)}
        </span>
      ))}
    </div>
  )
})
