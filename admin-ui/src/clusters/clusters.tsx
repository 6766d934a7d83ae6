/** All clusters: those of the registry, and those that mappings name without one. */
import { Link, useSearchParams } from 'wouter'
import type { Cluster } from '../../../gateway/admin/api/clusters.ts'
import { useClusters } from '../api/queries.ts'
import { useMayNot } from '../app/may-not.ts'
import { FreshnessMark } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { type Text, useText } from '../text/text.tsx'
import { HealthMark } from './health-mark.tsx'
import { RegisterDialog } from './register-dialog.tsx'

export const clusterHref = (name: string): string => `/clusters/${encodeURIComponent(name)}`

export function Clusters() {
  const text = useText()
  const { t } = text
  const clusters = useClusters()
  const mayNot = useMayNot('clusters.edit')
  const [params, setParams] = useSearchParams()
  const register = (
    <Button
      look="primary"
      icon="plus"
      reason={mayNot}
      onClick={() => setParams({ new: 'yes' }, { replace: true })}
    >
      {t('clusters.register')}
    </Button>
  )
  return (
    <Page
      title={t('nav.clusters')}
      facts={clusters.data !== undefined && <FreshnessMark asOf={clusters.data.asOf} />}
      actions={register}
    >
      <Card flush>
        <Loaded query={clusters}>
          {(list) =>
            list.clusters.length === 0 ? (
              <Empty icon="clusters" title={t('clusters.none')} action={register}>
                {t('clusters.noneWords')}
              </Empty>
            ) : (
              <DataTable
                label={t('nav.clusters')}
                rows={list.clusters}
                rowKey={({ name }) => name}
                columns={columnsOf(text)}
              />
            )
          }
        </Loaded>
      </Card>
      {params.has('new') && <RegisterDialog onClose={() => setParams({}, { replace: true })} />}
    </Page>
  )
}

function columnsOf({ t, number }: Text): Column<Cluster>[] {
  return [
    {
      key: 'name',
      header: t('clusters.name'),
      cell: ({ name }) => (
        <strong>
          <Link href={clusterHref(name)}>{name}</Link>
        </strong>
      ),
    },
    { key: 'health', header: t('clusters.health'), cell: ({ name }) => <HealthMark name={name} /> },
    {
      key: 'metas',
      header: t('form.metas'),
      minor: true,
      cell: ({ metas }) => <code>{metas.join(', ') || '–'}</code>,
    },
    {
      key: 'tables',
      narrow: true,
      header: t('nav.tables'),
      align: 'end',
      cell: ({ name, tables }) => (
        <Link href={`/tables?cluster=${encodeURIComponent(name)}`}>{number(tables)}</Link>
      ),
    },
    {
      key: 'peer',
      header: t('clusters.peer'),
      minor: true,
      cell: ({ peer }) => (peer === undefined ? '–' : <Link href={clusterHref(peer)}>{peer}</Link>),
    },
    {
      key: 'registry',
      header: t('clusters.registry'),
      cell: ({ registered, drift }) =>
        !registered ? (
          <Status tone="warn">{t('clusters.unregistered')}</Status>
        ) : drift.length > 0 ? (
          <Status tone="warn" icon="drift">
            {t('clusters.drift', { count: drift.reduce((sum, { tables }) => sum + tables, 0) })}
          </Status>
        ) : (
          <Status tone="ok">{t('clusters.registered')}</Status>
        ),
    },
  ]
}
