/** A table of some rows, with real table markup; long lists of mappings have their own grid. */
import type { ReactNode } from 'react'
import { useText } from '../text/text.tsx'
import { Button } from './button.tsx'
import styles from './data-table.module.css'

export interface Column<Row> {
  readonly key: string
  readonly header: ReactNode
  readonly cell: (row: Row) => ReactNode
  readonly align?: 'end'
  /** Left out on narrow screens. */
  readonly minor?: boolean
  /** No wider than what stands in it. */
  readonly narrow?: boolean
}

export function DataTable<Row>(props: {
  /** What the rows are, for screen readers. */
  readonly label: string
  readonly columns: readonly Column<Row>[]
  readonly rows: readonly Row[]
  readonly rowKey: (row: Row) => string
  /** Below a row, over its whole width; undefined where there is nothing. */
  readonly below?: (row: Row) => ReactNode
}) {
  const { label, columns, rows, rowKey, below } = props
  const classOf = ({ align, minor, narrow }: Column<Row>): string =>
    [
      align === 'end' ? styles.end : '',
      minor === true ? styles.minor : '',
      narrow === true ? styles.narrow : '',
    ]
      .filter(Boolean)
      .join(' ')
  return (
    <div className={styles.scroll} role="group" aria-label={label} tabIndex={0}>
      <table className={styles.table}>
        <caption className="only-heard">{label}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.key} scope="col" className={classOf(column)}>
                {column.header}
              </th>
            ))}
          </tr>
        </thead>
        {rows.map((row) => {
          const more = below?.(row)
          return (
            <tbody key={rowKey(row)}>
              <tr>
                {columns.map((column) => (
                  <td key={column.key} className={classOf(column)}>
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
              {more !== undefined && more !== null && more !== false && (
                <tr>
                  <td className={styles.below} colSpan={columns.length}>
                    {more}
                  </td>
                </tr>
              )}
            </tbody>
          )
        })}
      </table>
    </div>
  )
}

/** Below a table that shows the first of many. */
export function More(props: {
  readonly shown: number
  readonly total: number
  readonly busy?: boolean
  readonly onMore: () => void
}) {
  const { t } = useText()
  return (
    <div className={styles.more}>
      <span>{t('state.shownOf', { shown: props.shown, total: props.total })}</span>
      <Button busy={props.busy ?? false} onClick={props.onMore}>
        {t('state.showMore')}
      </Button>
    </div>
  )
}
