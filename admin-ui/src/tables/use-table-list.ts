/**
 * The rows of the list, kept true by events without moving anything under the pointer (admin-ui.md
 * 1.4): a changed row is replaced in place and flashes; tables that came or went are counted, and
 * the list is read again when the reader asks for it. Under a storm of events only the rows that are
 * loaded are touched, once per gathering.
 */
import { type InfiniteData, useQueryClient } from '@tanstack/react-query'
import { useCallback, useRef, useState } from 'react'
import type { ServerEvent } from '../../../gateway/admin/api/events.ts'
import type { Table, TableList } from '../../../gateway/admin/api/tables.ts'
import { useEvents } from '../api/events.ts'
import { useTables } from '../api/queries.ts'
import type { TableFilters } from './filter-tokens.ts'
import { gathered, patched } from './list-events.ts'

const PAGE = 200
const FLASH_MS = 1600

export interface TableListState {
  readonly tables: readonly Table[]
  readonly total: number
  readonly flashing: ReadonlySet<string>
  /** Tables that came or went since the list was read. */
  readonly news: number
  readonly showNews: () => void
}

export function useTableList(filters: TableFilters, sort: string) {
  const query = { ...filters, sort, limit: PAGE }
  const list = useTables(query)
  const queries = useQueryClient()
  const [flashing, setFlashing] = useState<ReadonlySet<string>>(new Set())
  const [news, setNews] = useState(0)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  const key = JSON.stringify(query)
  const onEvents = useCallback(
    (events: readonly ServerEvent[]) => {
      const { changed, news: more } = gathered(events)
      if (more > 0) setNews((count) => count + more)
      if (changed.size === 0) return
      const touched = new Set<string>()
      queries.setQueryData<InfiniteData<TableList>>(['tables', JSON.parse(key)], (data) => {
        if (data === undefined) return data
        const pages = data.pages.map((page) => {
          if (!page.tables.some(({ name }) => changed.has(name))) return page
          const tables = page.tables.map((table) => {
            const event = changed.get(table.name)
            if (event === undefined) return table
            touched.add(table.name)
            return patched(table, event)
          })
          return { ...page, tables }
        })
        return touched.size === 0 ? data : { ...data, pages }
      })
      if (touched.size === 0) return
      setFlashing(touched)
      clearTimeout(timer.current)
      timer.current = setTimeout(() => setFlashing(new Set()), FLASH_MS)
    },
    [queries, key],
  )
  useEvents(onEvents)
  const showNews = useCallback(() => {
    setNews(0)
    void queries.resetQueries({ queryKey: ['tables', JSON.parse(key)] })
  }, [queries, key])
  return { list, flashing, news, showNews }
}
