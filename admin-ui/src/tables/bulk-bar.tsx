/** What can be done with the selected tables; stands in the place of the filter while some are. */
import { useState } from 'react'
import type { TableSelection } from '../../../gateway/admin/api/changes.ts'
import { pathOf } from '../api/http.ts'
import { useMayNot } from '../app/may-not.ts'
import { BulkDialog, type BulkKind } from '../changes/bulk-dialog.tsx'
import { Button } from '../design/button.tsx'
import { Menu, MenuItem, MenuLine } from '../design/menu.tsx'
import { type TextKey, useText } from '../text/text.tsx'
import type { TableFilters } from './filter-tokens.ts'
import { type Selection, selectedCount } from './selection.ts'
import styles from './tables.module.css'

const kinds: readonly (readonly [BulkKind, TextKey])[] = [
  ['cluster', 'bulk.doCluster'],
  ['metas', 'bulk.doMetas'],
  ['group', 'bulk.doGroup'],
  ['freeze', 'bulk.doFreeze'],
  ['thaw', 'bulk.doThaw'],
]

export function BulkBar(props: {
  readonly selection: Selection
  readonly filters: TableFilters
  /** Of all that match. */
  readonly total: number
  readonly onSelectAll: () => void
  readonly onClear: () => void
}) {
  const { selection, filters, total, onSelectAll, onClear } = props
  const { t } = useText()
  const [kind, setKind] = useState<BulkKind>()
  const count = selectedCount(selection)
  const select: TableSelection =
    selection.kind === 'all'
      ? { filter: filters as Extract<TableSelection, { filter: unknown }>['filter'] }
      : { names: [...selection.names] }
  const reason = useMayNot('tables.edit')
  const exportAs = (format: 'json' | 'csv'): void => {
    const which =
      selection.kind === 'all' ? { ...filters } : { names: [...selection.names].join(',') }
    location.assign(pathOf('/tables:export', { ...which, format }))
  }
  return (
    <div className={styles.bulk} role="toolbar" aria-label={t('bulk.label')}>
      <strong role="status">{t('bulk.selected', { count })}</strong>
      {count < total && (
        <Button look="plain" onClick={onSelectAll}>
          {t('bulk.selectAll', { count: total })}
        </Button>
      )}
      <Button look="plain" icon="close" onClick={onClear}>
        {t('bulk.clear')}
      </Button>
      <span className={styles.push} />
      <Menu
        trigger={
          <Button icon="edit" reason={reason}>
            {t('bulk.edit')}
          </Button>
        }
      >
        {kinds.map(([one, label]) => (
          <MenuItem key={one} reason={reason} onSelect={() => setKind(one)}>
            {t(label)}
          </MenuItem>
        ))}
        <MenuLine />
        <MenuItem icon="trash" danger reason={reason} onSelect={() => setKind('delete')}>
          {t('bulk.doDelete')}
        </MenuItem>
      </Menu>
      <Menu trigger={<Button icon="download">{t('audit.export')}</Button>}>
        <MenuItem onSelect={() => exportAs('json')}>JSON</MenuItem>
        <MenuItem onSelect={() => exportAs('csv')}>CSV</MenuItem>
      </Menu>
      {kind !== undefined && (
        <BulkDialog
          kind={kind}
          select={select}
          count={count}
          onClose={(isApplied) => {
            setKind(undefined)
            if (isApplied) onClear()
          }}
        />
      )}
    </div>
  )
}
