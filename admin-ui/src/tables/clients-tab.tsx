/** Who asked for a table in the last day, as all gateways say; those that still talk to its old cluster first. */
import type { TableClient } from '../../../gateway/admin/api/table-fleet.ts'
import { useTableClients } from '../api/queries.ts'
import { Ago } from '../design/age.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { Asked, Silent } from '../gateways/asked.tsx'
import { type Text, type TextKey, useText } from '../text/text.tsx'
import styles from './table-page.module.css'

const libraries: Readonly<Record<string, string>> = {
  'c++': 'C++',
  java: 'Java',
  go: 'Go',
  python: 'Python',
  node: 'Node.js',
  'pegasus-metaproxy': 'MetaProxy',
}

/** What is no answer of the cluster. */
const failures: Readonly<Record<string, TextKey>> = {
  'no-table': 'clients.noTable',
  'invalid-mapping': 'tableState.invalid',
  unavailable: 'clients.unavailable',
  unreadable: 'clients.unreadable',
  limited: 'clients.limited',
}

export function ClientsTab({ name }: { readonly name: string }) {
  const text = useText()
  const { t } = text
  const clients = useTableClients(name)
  const { data } = clients
  return (
    <Card title={t('clients.title')} aside={<Asked query={clients} />} flush>
      <Loaded query={clients}>
        {({ silent, clients: rows, total, slow, truncated, cluster }) => (
          <>
            <Silent silent={silent} />
            {rows.length === 0 ? (
              <Empty icon="gateways" title={t('clients.none')}>
                {t('clients.noneWords')}
              </Empty>
            ) : (
              <>
                <p className={styles.summary} role="status">
                  {t('clients.count', { count: total })}
                  {slow > 0 ? (
                    <Status tone="warn" icon="clock">
                      {t('clients.slowCount', { count: slow })}
                    </Status>
                  ) : (
                    <Status tone="ok">{t('clients.allMoved', { cluster: cluster ?? '–' })}</Status>
                  )}
                  {truncated && <span className={styles.muted}>{t('clients.truncated')}</span>}
                </p>
                <DataTable
                  label={t('clients.title')}
                  rows={rows}
                  rowKey={({ address }) => address}
                  columns={columnsOf(text, (data?.answered.length ?? 0) > 1)}
                />
              </>
            )}
          </>
        )}
      </Loaded>
    </Card>
  )
}

function columnsOf({ t, number }: Text, hasFleet: boolean): Column<TableClient>[] {
  return [
    {
      key: 'address',
      header: t('clients.address'),
      cell: ({ address, slow }) => (
        <>
          <code>{address}</code>{' '}
          {slow && (
            <Status tone="warn" icon="clock">
              {t('clients.slow')}
            </Status>
          )}
        </>
      ),
    },
    {
      key: 'answer',
      header: t('clients.answer'),
      cell: ({ result, cluster }) => {
        const failure = failures[result]
        return failure === undefined ? (cluster ?? '–') : <Status tone="bad">{t(failure)}</Status>
      },
    },
    {
      key: 'last',
      header: t('clients.last'),
      cell: ({ lastQueryAt }) => <Ago at={lastQueryAt} />,
    },
    {
      key: 'queries',
      header: t('clients.queries'),
      align: 'end',
      cell: ({ queries }) => number(queries),
    },
    {
      key: 'library',
      header: t('clients.library'),
      minor: true,
      cell: ({ libraries: found }) =>
        found.length === 0
          ? t('clients.unknownLibrary')
          : found.map((library) => libraries[library] ?? library).join(' / '),
    },
    {
      key: 'header',
      header: t('clients.header'),
      minor: true,
      cell: ({ headerVersion }) => headerVersion,
    },
    ...(hasFleet
      ? [
          {
            key: 'gateways',
            header: t('nav.gateways'),
            minor: true,
            cell: ({ gateways }: TableClient) => gateways.join(', '),
          },
        ]
      : []),
  ]
}
