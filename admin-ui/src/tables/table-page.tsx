/** One table: its route as ZooKeeper, gateways and metas see it, partitions, clients, history, events, snippet. */
import { useQuery } from '@tanstack/react-query'
import { useLocation, useRoute, useSearchParams } from 'wouter'
import type { Table } from '../../../gateway/admin/api/tables.ts'
import { usePolling } from '../api/events.ts'
import { ApiProblem, read } from '../api/http.ts'
import { tablePath } from '../api/queries.ts'
import { useMayNot } from '../app/may-not.ts'
import { RemoveDialog } from '../changes/remove-dialog.tsx'
import { Button, IconButton } from '../design/button.tsx'
import { Menu, MenuItem } from '../design/menu.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Tabs } from '../design/tabs.tsx'
import { useText } from '../text/text.tsx'
import { ClientsTab } from './clients-tab.tsx'
import { EditDialog } from './edit-dialog.tsx'
import { EventsTab, useTableEvents } from './events-tab.tsx'
import { HistoryTab } from './history-tab.tsx'
import { PartitionsTab } from './partitions-tab.tsx'
import { RouteTab } from './route-tab.tsx'
import { SnippetTab } from './snippet-tab.tsx'
import { tableHref } from './table-columns.tsx'
import { TableStateMark } from './table-state.tsx'

const tabs = ['route', 'partitions', 'clients', 'history', 'events', 'snippet'] as const
type Tab = (typeof tabs)[number]

const labels = {
  route: 'table.route',
  partitions: 'table.partitions',
  clients: 'table.clients',
  history: 'table.history',
  events: 'table.events',
  snippet: 'table.snippet',
} as const satisfies Record<Tab, string>

export function TablePage() {
  const [, params] = useRoute('/tables/:name/:tab?')
  const { name = '', tab } = params ?? {}
  return <OneTable key={name} name={name} tab={tabs.find((one) => one === tab) ?? 'route'} />
}

function OneTable({ name, tab }: { readonly name: string; readonly tab: Tab }) {
  const { t } = useText()
  const parent = { href: '/tables', label: t('nav.tables') }
  const [, go] = useLocation()
  const polling = usePolling()
  const table = useQuery({
    queryKey: ['table', name],
    queryFn: ({ signal }) => read<Table>(tablePath(name), {}, signal),
    refetchInterval: polling,
  })
  const href = tableHref(name)
  const events = useTableEvents(name)
  if (table.error instanceof ApiProblem && table.error.status === 404)
    return (
      <Page title={name} parent={parent}>
        <Empty icon="tables" title={t('table.absent', { name })}>
          {t('table.absentWords')}
        </Empty>
        <HistoryTab name={name} table={undefined} />
      </Page>
    )
  return (
    <Page
      title={name}
      parent={parent}
      facts={
        table.data !== undefined && (
          <>
            <TableStateMark state={table.data.state} />
            {table.data.frozen === true && table.data.state !== 'frozen' && (
              <TableStateMark state="frozen" />
            )}
          </>
        )
      }
      actions={table.data !== undefined && <Actions table={table.data} />}
    >
      <Tabs
        label={t('table.tabs')}
        current={`${href}/${tab}`}
        tabs={tabs.map((one) => ({ href: `${href}/${one}`, label: t(labels[one]) }))}
      />
      <Loaded query={table}>
        {(found) => (
          <>
            {tab === 'route' && <RouteTab table={found} />}
            {tab === 'partitions' && <PartitionsTab name={name} />}
            {tab === 'clients' && <ClientsTab name={name} />}
            {tab === 'history' && <HistoryTab name={name} table={found} />}
            {tab === 'events' && <EventsTab name={name} events={events} />}
            {tab === 'snippet' && <SnippetTab name={name} />}
            <Dialogs table={found} onRemoved={() => go('/tables')} />
          </>
        )}
      </Loaded>
    </Page>
  )
}

function Actions({ table }: { readonly table: Table }) {
  const { t } = useText()
  const [, setParams] = useSearchParams()
  const reason = useMayNot('tables.edit')
  return (
    <>
      <Button icon="edit" reason={reason} onClick={() => setParams({ edit: '' })}>
        {t('action.edit')}
      </Button>
      <Menu trigger={<IconButton icon="more" label={t('table.more')} look="secondary" />}>
        <MenuItem
          icon="trash"
          danger
          reason={reason ?? (table.frozen === true ? t('table.isFrozen') : undefined)}
          onSelect={() => setParams({ remove: '' })}
        >
          {t('remove.menu')}
        </MenuItem>
      </Menu>
    </>
  )
}

/** Open as the address says, so that the list's `e` and a shared link lead here. */
function Dialogs(props: { readonly table: Table; readonly onRemoved: () => void }) {
  const { t } = useText()
  const { name } = props.table
  const [params, setParams] = useSearchParams()
  const close = (): void => setParams({}, { replace: true })
  if (params.has('edit')) return <EditDialog base={props.table} onClose={close} />
  if (params.has('remove'))
    return (
      <RemoveDialog
        removal={{
          name,
          path: tablePath(name),
          etag: props.table.etag,
          title: t('remove.title', { name }),
          words: t('remove.words'),
          verb: t('remove.button', { name }),
          done: t('remove.done', { name }),
          touches: ['tables', 'history'],
        }}
        onClose={close}
        onRemoved={props.onRemoved}
      />
    )
  return null
}
