/**
 * What happens to a table while one looks: events as they come, of whatever tool, since the page of
 * the table was opened; below them the changes that the audit holds of it.
 */
import { useCallback, useState } from 'react'
import type { ServerEvent } from '../../../gateway/admin/api/events.ts'
import { useEvents, useStreamState } from '../api/events.ts'
import { useAudit } from '../api/queries.ts'
import { AuditLines } from '../audit/audit-lines.tsx'
import { sourceWord } from '../audit/audit-words.ts'
import { Moment } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Stack } from '../design/facts.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { type Text, type TextKey, useText } from '../text/text.tsx'
import { isTableState, withEventsOf } from './list-events.ts'
import { TableStateMark } from './table-state.tsx'

const EVENTS_MAX = 200
const PAGE = 20

const types: Readonly<Record<string, TextKey>> = {
  created: 'events.created',
  changed: 'events.changed',
  deleted: 'events.deleted',
}

/** Since the component that uses it is there; the newest first. */
export function useTableEvents(name: string): readonly ServerEvent[] {
  const [kept, setKept] = useState<readonly ServerEvent[]>([])
  useEvents(
    useCallback(
      (events) => setKept((before) => withEventsOf(name, before, events, EVENTS_MAX)),
      [name],
    ),
  )
  return kept
}

export function EventsTab(props: {
  readonly name: string
  readonly events: readonly ServerEvent[]
}) {
  return (
    <Stack>
      <Live events={props.events} />
      <Recorded name={props.name} />
    </Stack>
  )
}

function Live({ events }: { readonly events: readonly ServerEvent[] }) {
  const text = useText()
  const { t } = text
  const isLive = useStreamState() === 'live'
  return (
    <Card
      title={t('events.live')}
      aside={
        <Status tone={isLive ? 'ok' : 'warn'} icon={isLive ? 'bolt' : 'clock'}>
          {t(isLive ? 'events.listening' : 'events.cutOff')}
        </Status>
      }
      flush
    >
      {events.length === 0 ? (
        <Empty icon="bolt" title={t('events.none')}>
          {t('events.noneWords')}
        </Empty>
      ) : (
        <DataTable
          label={t('events.live')}
          rows={events}
          rowKey={({ at, type, etag = '' }) => `${at} ${type} ${etag}`}
          columns={columnsOf(text)}
        />
      )}
    </Card>
  )
}

function columnsOf(text: Text): Column<ServerEvent>[] {
  const { t } = text
  return [
    { key: 'at', header: t('audit.when'), cell: ({ at }) => <Moment at={at} /> },
    {
      key: 'type',
      header: t('events.what'),
      cell: ({ type }) => (types[type] === undefined ? type : t(types[type])),
    },
    {
      key: 'cluster',
      header: t('tables.cluster'),
      cell: ({ cluster, clusterBefore }) =>
        clusterBefore === undefined || clusterBefore === cluster
          ? (cluster ?? '–')
          : `${clusterBefore} → ${cluster ?? '–'}`,
    },
    {
      key: 'state',
      header: t('tables.state'),
      cell: ({ state }) => (isTableState(state) ? <TableStateMark state={state} /> : '–'),
    },
    {
      key: 'actor',
      header: t('audit.who'),
      minor: true,
      cell: ({ actor, source }) =>
        actor === undefined ? '–' : `${actor} · ${sourceWord(text, source ?? '')}`,
    },
  ]
}

function Recorded({ name }: { readonly name: string }) {
  const { t } = useText()
  const audit = useAudit({ kind: 'table', name, limit: PAGE })
  return (
    <Card title={t('events.recorded')} flush>
      <Loaded query={audit}>
        {({ pages }) => {
          const entries = pages.flatMap((page) => page.entries)
          return entries.length === 0 ? (
            <Empty icon="audit" title={t('audit.none')}>
              {t('history.noneWords')}
            </Empty>
          ) : (
            <>
              <AuditLines entries={entries} />
              {audit.hasNextPage && (
                <Button busy={audit.isFetchingNextPage} onClick={() => void audit.fetchNextPage()}>
                  {t('action.older')}
                </Button>
              )}
            </>
          )
        }}
      </Loaded>
    </Card>
  )
}
