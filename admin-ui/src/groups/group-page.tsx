/** One group: how its tables are named, and which they are now. */
import { Link, useLocation, useRoute, useSearchParams } from 'wouter'
import type { Group } from '../../../gateway/admin/api/groups.ts'
import type { Table } from '../../../gateway/admin/api/tables.ts'
import { ApiProblem } from '../api/http.ts'
import { groupPath, useGroup, useTables } from '../api/queries.ts'
import { useMayNot } from '../app/may-not.ts'
import { RemoveDialog } from '../changes/remove-dialog.tsx'
import { Ago } from '../design/age.tsx'
import { Button, IconButton } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable, More } from '../design/data-table.tsx'
import { Fact, Facts } from '../design/facts.tsx'
import { Menu, MenuItem } from '../design/menu.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { ClusterLink, tableHref } from '../tables/table-columns.tsx'
import { TableStateMark } from '../tables/table-state.tsx'
import { type Text, useText } from '../text/text.tsx'
import { GroupDialog } from './group-dialog.tsx'
import { draftOf, versionOf } from './group-entry.ts'

const PAGE = 100

export function GroupPage() {
  const [, params] = useRoute('/groups/:name')
  const name = params?.name ?? ''
  const { t } = useText()
  const parent = { href: '/groups', label: t('nav.groups') }
  const group = useGroup(name)
  if (group.error instanceof ApiProblem && group.error.status === 404)
    return (
      <Page title={name} parent={parent}>
        <Empty icon="groups" title={t('groups.absent', { name })}>
          {t('groups.absentWords')}
        </Empty>
      </Page>
    )
  return (
    <Page
      title={name}
      parent={parent}
      actions={group.data !== undefined && <Actions group={group.data} />}
    >
      <Loaded query={group}>
        {(found) => (
          <>
            <Membership group={found} />
            <Tables group={found} />
            <Dialogs group={found} />
          </>
        )}
      </Loaded>
    </Page>
  )
}

function Actions({ group }: { readonly group: Group }) {
  const { t } = useText()
  const [, setParams] = useSearchParams()
  const mayNot = useMayNot('groups.edit')
  return (
    <>
      <Button icon="edit" reason={mayNot} onClick={() => setParams({ edit: '' })}>
        {t('action.edit')}
      </Button>
      {group.registered && (
        <Menu trigger={<IconButton icon="more" label={t('table.more')} look="secondary" />}>
          <MenuItem icon="trash" danger reason={mayNot} onSelect={() => setParams({ remove: '' })}>
            {t('groups.remove')}
          </MenuItem>
        </Menu>
      )}
    </>
  )
}

function Membership({ group }: { readonly group: Group }) {
  const { t } = useText()
  const { registered, patterns, members, stale, note, modifiedAt } = group
  return (
    <Card
      title={t('groups.membership')}
      aside={!registered && <Status tone="neutral">{t('groups.byMappingsOnly')}</Status>}
    >
      <Facts>
        <Fact label={t('groups.patterns')}>
          {patterns.length === 0 ? '–' : <code>{patterns.join(', ')}</code>}
        </Fact>
        <Fact label={t('groups.members')}>{members.length === 0 ? '–' : members.join(', ')}</Fact>
        <Fact label={t('form.stale')}>
          {stale === undefined ? t('form.staleNone') : <code>{stale}</code>}
        </Fact>
        {note !== undefined && <Fact label={t('tables.note')}>{note}</Fact>}
        {modifiedAt !== undefined && (
          <Fact label={t('tables.changed')}>
            <Ago at={modifiedAt} />
          </Fact>
        )}
      </Facts>
    </Card>
  )
}

function Tables({ group }: { readonly group: Group }) {
  const text = useText()
  const { t } = text
  const list = useTables({ group: group.name, sort: 'name', limit: PAGE })
  return (
    <Card
      title={t('nav.tables')}
      aside={
        <Link href={`/tables?group=${encodeURIComponent(group.name)}`}>{t('groups.openList')}</Link>
      }
      flush
    >
      <Loaded query={list}>
        {({ pages }) => {
          const tables = pages.flatMap((page) => page.tables)
          const total = pages[0]?.total ?? 0
          return tables.length === 0 ? (
            <Empty icon="tables" title={t('groups.noTables')}>
              {t('groups.noTablesWords')}
            </Empty>
          ) : (
            <>
              <DataTable
                label={t('nav.tables')}
                rows={tables}
                rowKey={({ name }) => name}
                columns={columnsOf(text, group)}
              />
              {list.hasNextPage && (
                <More
                  shown={tables.length}
                  total={total}
                  busy={list.isFetchingNextPage}
                  onMore={() => void list.fetchNextPage()}
                />
              )}
            </>
          )
        }}
      </Loaded>
    </Card>
  )
}

function columnsOf({ t }: Text, group: Group): Column<Table>[] {
  const listed = new Set(group.members)
  const wayOf = ({ name, group: own }: Table): string =>
    own === group.name
      ? t('groups.byMapping')
      : listed.has(name)
        ? t('groups.byList')
        : t('groups.byPattern')
  return [
    {
      key: 'name',
      header: t('tables.name'),
      cell: ({ name }) => <Link href={tableHref(name)}>{name}</Link>,
    },
    {
      key: 'cluster',
      header: t('tables.cluster'),
      cell: ({ cluster }) => <ClusterLink name={cluster} />,
    },
    {
      key: 'state',
      header: t('tables.state'),
      cell: ({ state }) => <TableStateMark state={state} />,
    },
    { key: 'way', header: t('groups.way'), minor: true, cell: wayOf },
    {
      key: 'changed',
      header: t('tables.changed'),
      minor: true,
      cell: ({ modifiedAt }) => <Ago at={modifiedAt} />,
    },
  ]
}

function Dialogs({ group }: { readonly group: Group }) {
  const { t } = useText()
  const { name } = group
  const [, go] = useLocation()
  const [params, setParams] = useSearchParams()
  const close = (): void => setParams({}, { replace: true })
  if (params.has('edit')) {
    const base = versionOf(group)
    return (
      <GroupDialog
        base={base}
        {...(base === undefined ? { first: draftOf(group) } : {})}
        onClose={close}
      />
    )
  }
  if (params.has('remove'))
    return (
      <RemoveDialog
        removal={{
          name,
          path: groupPath(name),
          etag: group.etag,
          title: t('groups.removeTitle', { name }),
          words: t('groups.removeWords'),
          verb: t('groups.removeButton', { name }),
          done: t('groups.removed', { name }),
          touches: ['groups', 'tables'],
        }}
        onClose={close}
        onRemoved={() => go('/groups')}
      />
    )
  return null
}
