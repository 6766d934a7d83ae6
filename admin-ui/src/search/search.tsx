/** Search over everything by name, cluster or address; opens with `/`, chooses with the arrow keys. */
import { useQuery } from '@tanstack/react-query'
import { type KeyboardEvent, useState } from 'react'
import { useLocation } from 'wouter'
import type { TableList } from '../../../gateway/admin/api/tables.ts'
import { read } from '../api/http.ts'
import { useClusters, useGroups } from '../api/queries.ts'
import { Dialog } from '../design/dialog.tsx'
import { control } from '../design/field.tsx'
import { Icon, type IconName } from '../design/icon.tsx'
import { useText } from '../text/text.tsx'
import styles from './search.module.css'

const TABLES_MAX = 12
const OTHERS_MAX = 5

interface Hit {
  readonly href: string
  readonly icon: IconName
  readonly name: string
  readonly detail: string
}

function useHits(q: string): readonly Hit[] {
  const { t } = useText()
  const tables = useQuery({
    queryKey: ['tables', 'search', q],
    queryFn: ({ signal }) => read<TableList>('/tables', { q, limit: TABLES_MAX }, signal),
    enabled: q !== '',
    placeholderData: (before) => before,
  })
  const clusters = useClusters().data?.clusters ?? []
  const groups = useGroups().data?.groups ?? []
  if (q === '') return []
  const wanted = q.toLowerCase()
  const has = (...texts: readonly string[]): boolean =>
    texts.some((text) => text.toLowerCase().includes(wanted))
  return [
    ...clusters
      .filter(({ name, metas }) => has(name, ...metas))
      .slice(0, OTHERS_MAX)
      .map(({ name, metas }) => ({
        href: `/clusters/${encodeURIComponent(name)}`,
        icon: 'clusters' as const,
        name,
        detail: `${t('search.cluster')} · ${metas.join(', ')}`,
      })),
    ...groups
      .filter(({ name }) => has(name))
      .slice(0, OTHERS_MAX)
      .map(({ name, tables: count }) => ({
        href: `/groups/${encodeURIComponent(name)}`,
        icon: 'groups' as const,
        name,
        detail: t('search.group', { count }),
      })),
    // Those of the text before are shown meanwhile as far as they match: Enter opens what one typed.
    ...(tables.data?.tables ?? [])
      .filter(
        ({ name, cluster = '', metas = [] }) =>
          !tables.isPlaceholderData || has(name, cluster, ...metas),
      )
      .map(({ name, cluster, metas }) => ({
        href: `/tables/${encodeURIComponent(name)}`,
        icon: 'tables' as const,
        name,
        detail: [cluster, metas?.join(', ')].filter(Boolean).join(' · '),
      })),
  ]
}

export function Search(props: { readonly open: boolean; readonly onClose: () => void }) {
  const { t } = useText()
  return (
    <Dialog open={props.open} title={t('search.title')} onClose={props.onClose}>
      <SearchBox onClose={props.onClose} />
    </Dialog>
  )
}

function SearchBox({ onClose }: { readonly onClose: () => void }) {
  const { t } = useText()
  const [, go] = useLocation()
  const [q, setQ] = useState('')
  const [chosen, setChosen] = useState(0)
  const hits = useHits(q.trim())
  const at = Math.min(chosen, hits.length - 1)
  const open = (hit: Hit | undefined): void => {
    if (hit === undefined) return
    onClose()
    go(hit.href)
  }
  const onKey = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (step !== undefined) {
      event.preventDefault()
      setChosen(Math.max(0, Math.min(hits.length - 1, at + step)))
    } else if (event.key === 'Enter') open(hits[at])
  }
  return (
    <div className={styles.search}>
      <input
        className={control}
        type="search"
        role="combobox"
        aria-expanded={hits.length > 0}
        aria-controls="search-hits"
        aria-activedescendant={at >= 0 ? `search-hit-${at}` : undefined}
        aria-label={t('search.open')}
        placeholder={t('search.open')}
        autoFocus
        value={q}
        onChange={({ target }) => {
          setQ(target.value)
          setChosen(0)
        }}
        onKeyDown={onKey}
      />
      <ul id="search-hits" role="listbox" aria-label={t('search.hits')} className={styles.hits}>
        {hits.map((hit, index) => (
          <li
            key={hit.href}
            id={`search-hit-${index}`}
            role="option"
            aria-selected={index === at}
            className={styles.hit}
            onClick={() => open(hit)}
          >
            <Icon name={hit.icon} />
            <span className={styles.name}>{hit.name}</span>
            <span className={styles.detail}>{hit.detail}</span>
          </li>
        ))}
      </ul>
      {q.trim() !== '' && hits.length === 0 && (
        <p className={styles.none} role="status">
          {t('search.none')}
        </p>
      )}
    </div>
  )
}
