/** The list of all mappings: filter, sort, choose columns, select, act on many (admin-ui.md 3.2). */
import { useCallback, useMemo, useRef, useState } from 'react'
import { useLocation, useSearchParams } from 'wouter'
import { useMayNot } from '../app/may-not.ts'
import { ImportDialog } from '../changes/import-dialog.tsx'
import { ApiProblem, pathOf } from '../api/http.ts'
import { useTableRates } from '../api/queries.ts'
import { FreshnessMark } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { Menu, MenuItem } from '../design/menu.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { readText, store } from '../design/stored.ts'
import { useText } from '../text/text.tsx'
import { BulkBar } from './bulk-bar.tsx'
import { EditDialog } from './edit-dialog.tsx'
import { FilterBar } from './filter-bar.tsx'
import { type TableFilters, tokenNames } from './filter-tokens.ts'
import { extended, nothingSelected, type Selection, selectedCount, toggled } from './selection.ts'
import {
  type ColumnKey,
  columnKeys,
  columns,
  nameColumn,
  shownAtFirst,
  tableHref,
} from './table-columns.tsx'
import { TableGrid } from './table-grid.tsx'
import styles from './tables.module.css'
import { useTableList } from './use-table-list.ts'

const filterNames = [...tokenNames, 'q'] as const

/** The list's state is its address, so that it can be shared; the reader's columns are kept besides. */
function useAddress() {
  const [params, setParams] = useSearchParams()
  const text = params.toString()
  const filters = useMemo<TableFilters>(() => {
    const from = new URLSearchParams(text)
    return Object.fromEntries(
      filterNames.flatMap((name) => {
        const value = from.get(name)
        return value === null || value === '' ? [] : [[name, value]]
      }),
    )
  }, [text])
  const set = useCallback(
    (values: Readonly<Record<string, string | undefined>>) =>
      setParams(
        (before) => {
          const next = new URLSearchParams(before)
          for (const [name, value] of Object.entries(values))
            if (value === undefined || value === '') next.delete(name)
            else next.set(name, value)
          return next
        },
        { replace: true },
      ),
    [setParams],
  )
  const shown = (params.get('columns') ?? readText('columns'))?.split(',')
  return {
    filters,
    sort: params.get('sort') ?? 'name',
    shown: keysOf(shown ?? shownAtFirst()),
    isMaking: params.has('new'),
    isImporting: params.has('import'),
    set,
  }
}

/** In their order of display; what is no column is left out. */
function keysOf(names: readonly string[]): readonly ColumnKey[] {
  return columnKeys.filter((key) => names.includes(key))
}

export function Tables() {
  const { t, number } = useText()
  const [, go] = useLocation()
  const { filters, sort, shown, isMaking, isImporting, set } = useAddress()
  const { list, flashing, news, showNews } = useTableList(filters, sort)
  const [selection, setSelection] = useState<Selection>(nothingSelected)
  const anchor = useRef<string>(undefined)
  const pages = list.data?.pages
  const tables = useMemo(() => pages?.flatMap((page) => page.tables) ?? [], [pages])
  const total = pages?.[0]?.total ?? 0
  const shownKeys = shown.join(',')
  const shownColumns = useMemo(
    () => [
      nameColumn,
      ...columnKeys.filter((key) => shownKeys.split(',').includes(key)).map((key) => columns[key]),
    ],
    [shownKeys],
  )
  const rates = useTableRates(shown.includes('rate'))
  const asOf = pages?.[0]?.asOf
  const isFiltered = Object.keys(filters).length > 0
  const mayNot = useMayNot('tables.edit')
  const onFilters = useCallback(
    (next: TableFilters) => {
      setSelection(nothingSelected)
      set(Object.fromEntries(filterNames.map((name) => [name, next[name]])))
    },
    [set],
  )
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = list
  const onNearEnd = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage()
  }, [fetchNextPage, hasNextPage, isFetchingNextPage])
  const onToggle = (name: string, extend: boolean): void => {
    const names = tables.map((table) => table.name)
    const from = anchor.current
    setSelection(
      extend && from !== undefined
        ? extended(selection, from, name, names)
        : toggled(selection, name, names),
    )
    anchor.current = name
  }
  const onToggleAll = (): void =>
    setSelection(selectedCount(selection) > 0 ? nothingSelected : { kind: 'all', total })
  return (
    <Page
      title={t('nav.tables')}
      facts={
        <>
          {pages !== undefined && (
            <span className={styles.count} role="status">
              {isFiltered ? t('tables.matching', { count: total }) : number(total)}
            </span>
          )}
          {asOf !== undefined && <FreshnessMark asOf={asOf} />}
        </>
      }
      actions={
        <>
          <ExportMenu filters={filters} />
          <Button icon="upload" reason={mayNot} onClick={() => set({ import: 'yes' })}>
            {t('import.open')}
          </Button>
          <Button look="primary" icon="plus" reason={mayNot} onClick={() => set({ new: 'yes' })}>
            {t('tables.new')}
          </Button>
        </>
      }
    >
      <div className={styles.tools}>
        {selectedCount(selection) > 0 ? (
          <BulkBar
            selection={selection}
            filters={filters}
            total={total}
            onSelectAll={() => setSelection({ kind: 'all', total })}
            onClear={() => setSelection(nothingSelected)}
          />
        ) : (
          <FilterBar filters={filters} onChange={onFilters} />
        )}
        {news > 0 && (
          <Button icon="refresh" onClick={showNews}>
            {t('tables.news', { count: news })}
          </Button>
        )}
        <Menu trigger={<Button icon="columns">{t('tables.columns')}</Button>}>
          {columnKeys.map((key) => (
            <MenuItem
              key={key}
              checked={shown.includes(key)}
              onSelect={() => {
                const next = withToggled(shown, key).join(',')
                store('columns', next)
                set({ columns: next })
              }}
            >
              {t(columns[key].label)}
            </MenuItem>
          ))}
        </Menu>
      </div>
      <Card flush>
        {isFiltered && isRefused(list.error) ? (
          <NoTables isFiltered why={list.error.message} onClear={() => onFilters({})} />
        ) : (
          <Loaded query={list} lines={10}>
            {() =>
              tables.length === 0 ? (
                <NoTables isFiltered={isFiltered} onClear={() => onFilters({})} />
              ) : (
                <TableGrid
                  tables={tables}
                  total={total}
                  columns={shownColumns}
                  rates={rates.data}
                  sort={sort}
                  selection={selection}
                  flashing={flashing}
                  onSort={(next) => set({ sort: next })}
                  onToggle={onToggle}
                  onToggleAll={onToggleAll}
                  onOpen={(name) => go(tableHref(name))}
                  onEdit={(name) => go(`${tableHref(name)}?edit`)}
                  onNearEnd={onNearEnd}
                />
              )
            }
          </Loaded>
        )}
      </Card>
      {isMaking && <EditDialog onClose={() => set({ new: undefined })} />}
      {isImporting && <ImportDialog onClose={() => set({ import: undefined })} />}
    </Page>
  )
}

function withToggled(shown: readonly ColumnKey[], key: ColumnKey): readonly ColumnKey[] {
  return columnKeys.filter((other) => (other === key) !== shown.includes(other))
}

/** Of what the filter shows, or of everything. */
function ExportMenu({ filters }: { readonly filters: TableFilters }) {
  const { t } = useText()
  return (
    <Menu trigger={<Button icon="download">{t('audit.export')}</Button>}>
      {(['json', 'csv'] as const).map((format) => (
        <MenuItem
          key={format}
          onSelect={() => location.assign(pathOf('/tables:export', { ...filters, format }))}
        >
          {format.toUpperCase()}
        </MenuItem>
      ))}
    </Menu>
  )
}

/** What was typed is no filter. */
function isRefused(error: unknown): error is ApiProblem {
  return error instanceof ApiProblem && error.code === 'bad-request'
}

function NoTables(props: {
  readonly isFiltered: boolean
  /** The filter is wrong. */
  readonly why?: string
  readonly onClear: () => void
}) {
  const { t } = useText()
  return props.isFiltered ? (
    <Empty
      icon="search"
      title={t(props.why === undefined ? 'tables.noMatch' : 'tables.badFilter')}
      action={<Button onClick={props.onClear}>{t('action.clearFilters')}</Button>}
    >
      {props.why?.replace('querystring: ', '') ?? t('tables.noMatchWords')}
    </Empty>
  ) : (
    <Empty icon="tables" title={t('tables.none')}>
      {t('tables.noneWords')}
    </Empty>
  )
}
