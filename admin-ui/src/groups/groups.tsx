/** Named sets of tables. Their readiness for a switch gets its place here with the DR switch. */
import { Link, useSearchParams } from 'wouter'
import type { Group } from '../../../gateway/admin/api/groups.ts'
import { useGroups } from '../api/queries.ts'
import { useMayNot } from '../app/may-not.ts'
import { FreshnessMark } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { type Text, useText } from '../text/text.tsx'
import { GroupDialog } from './group-dialog.tsx'

export const groupHref = (name: string): string => `/groups/${encodeURIComponent(name)}`

export function Groups() {
  const text = useText()
  const { t } = text
  const groups = useGroups()
  const mayNot = useMayNot('groups.edit')
  const [params, setParams] = useSearchParams()
  const make = (
    <Button
      look="primary"
      icon="plus"
      reason={mayNot}
      onClick={() => setParams({ new: 'yes' }, { replace: true })}
    >
      {t('groups.new')}
    </Button>
  )
  return (
    <Page
      title={t('nav.groups')}
      facts={groups.data !== undefined && <FreshnessMark asOf={groups.data.asOf} />}
      actions={make}
    >
      <Card flush>
        <Loaded query={groups}>
          {(list) =>
            list.groups.length === 0 ? (
              <Empty icon="groups" title={t('groups.none')} action={make}>
                {t('groups.noneWords')}
              </Empty>
            ) : (
              <DataTable
                label={t('nav.groups')}
                rows={list.groups}
                rowKey={({ name }) => name}
                columns={columnsOf(text)}
              />
            )
          }
        </Loaded>
      </Card>
      {params.has('new') && <GroupDialog onClose={() => setParams({}, { replace: true })} />}
    </Page>
  )
}

function columnsOf({ t, number }: Text): Column<Group>[] {
  return [
    {
      key: 'name',
      header: t('groups.name'),
      cell: ({ name }) => (
        <strong>
          <Link href={groupHref(name)}>{name}</Link>
        </strong>
      ),
    },
    {
      key: 'tables',
      narrow: true,
      header: t('nav.tables'),
      align: 'end',
      cell: ({ name, tables }) => (
        <Link href={`/tables?group=${encodeURIComponent(name)}`}>{number(tables)}</Link>
      ),
    },
    {
      key: 'patterns',
      header: t('groups.patterns'),
      cell: ({ patterns }) => (patterns.length === 0 ? '–' : <code>{patterns.join(', ')}</code>),
    },
    {
      key: 'members',
      narrow: true,
      header: t('groups.listed'),
      align: 'end',
      minor: true,
      cell: ({ members }) => number(members.length),
    },
    {
      key: 'stale',
      header: t('form.stale'),
      minor: true,
      cell: ({ stale }) => (stale === undefined ? '–' : <code>{stale}</code>),
    },
    { key: 'note', header: t('tables.note'), minor: true, cell: ({ note }) => note ?? '' },
  ]
}
