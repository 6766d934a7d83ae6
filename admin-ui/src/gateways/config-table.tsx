/** Options of a gateway with their values in force and where each comes from, and a filter over them. */
import { useState } from 'react'
import { type Column, DataTable } from '../design/data-table.tsx'
import { control } from '../design/field.tsx'
import { Empty } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { type Text, useText } from '../text/text.tsx'
import styles from './config-table.module.css'

export interface ShownOption {
  readonly path: string
  /** Secrets are masked. */
  readonly value: unknown
  readonly source: string
  readonly about?: string
  readonly reloadable?: boolean
}

export function ConfigTable({ options }: { readonly options: readonly ShownOption[] }) {
  const text = useText()
  const { t } = text
  const [filter, setFilter] = useState('')
  const wanted = filter.trim().toLowerCase()
  const shown = options.filter(({ path, about = '', source, value }) =>
    `${path} ${about} ${source} ${JSON.stringify(value)}`.toLowerCase().includes(wanted),
  )
  return (
    <>
      <div className={styles.head}>
        <input
          className={control}
          type="search"
          aria-label={t('about.filter')}
          placeholder={t('about.filter')}
          value={filter}
          onChange={({ target }) => setFilter(target.value)}
        />
      </div>
      {shown.length === 0 ? (
        <Empty icon="search" title={t('search.none')} />
      ) : (
        <DataTable
          label={t('about.config')}
          rows={shown}
          rowKey={({ path }) => path}
          columns={columnsOf(text)}
        />
      )}
    </>
  )
}

function columnsOf({ t }: Text): Column<ShownOption>[] {
  return [
    {
      key: 'path',
      header: t('about.option'),
      cell: ({ path, about }) => (
        <>
          <code>{path}</code>
          {about !== undefined && <div className={styles.about}>{about}</div>}
        </>
      ),
    },
    {
      key: 'value',
      header: t('about.value'),
      cell: ({ value }) => (
        <code className={styles.value}>
          {value === null || value === undefined
            ? '–'
            : typeof value === 'string'
              ? value
              : JSON.stringify(value)}
        </code>
      ),
    },
    {
      key: 'source',
      header: t('about.source'),
      minor: true,
      cell: ({ source, reloadable = false }) => (
        <>
          {source}{' '}
          {reloadable && (
            <Status tone="neutral" icon="refresh">
              {t('about.reloadable')}
            </Status>
          )}
        </>
      ),
    },
  ]
}
