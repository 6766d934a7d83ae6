/** The fleet as its gateways tell of themselves: who is behind, degraded, draining or of another version. */
import { Link } from 'wouter'
import type { Gateway } from '../../../gateway/admin/api/gateways.ts'
import { useGateways } from '../api/queries.ts'
import { Ago, FreshnessMark } from '../design/age.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { type Text, useText } from '../text/text.tsx'
import { gatewayHref, GatewayState } from './gateway-state.tsx'

export function Gateways() {
  const text = useText()
  const { t } = text
  const gateways = useGateways()
  return (
    <Page
      title={t('nav.gateways')}
      facts={
        gateways.data !== undefined && (
          <>
            <Status tone="neutral" icon="history">
              {t('gateways.epoch', { epoch: gateways.data.fleetEpoch })}
            </Status>
            <FreshnessMark asOf={gateways.data.asOf} />
          </>
        )
      }
    >
      <Card flush>
        <Loaded query={gateways}>
          {(list) =>
            list.gateways.length === 0 ? (
              <Empty icon="gateways" title={t('gateways.none')}>
                {t('gateways.noneWords')}
              </Empty>
            ) : (
              <DataTable
                label={t('nav.gateways')}
                rows={list.gateways}
                rowKey={({ id }) => id}
                columns={columnsOf(text, list.gateways)}
              />
            )
          }
        </Loaded>
      </Card>
    </Page>
  )
}

/** What most of them have is the norm; another one is marked. */
function commonVersion(gateways: readonly Gateway[]): string | undefined {
  const counts = new Map<string, number>()
  for (const { version } of gateways) counts.set(version, (counts.get(version) ?? 0) + 1)
  return [...counts].toSorted(([, a], [, b]) => b - a)[0]?.[0]
}

function columnsOf(text: Text, gateways: readonly Gateway[]): Column<Gateway>[] {
  const { t, number } = text
  const common = commonVersion(gateways)
  return [
    {
      key: 'id',
      header: t('gateways.name'),
      cell: ({ id, self }) => (
        <>
          <Link href={gatewayHref(id)}>{id}</Link>{' '}
          {self && <Status tone="info">{t('gateways.thisOne')}</Status>}
        </>
      ),
    },
    {
      key: 'state',
      header: t('gateways.state'),
      cell: (gateway) => <GatewayState gateway={gateway} />,
    },
    { key: 'rpc', header: t('gateways.clients'), cell: ({ rpc }) => rpc.join(', '), minor: true },
    {
      key: 'version',
      header: t('gateways.version'),
      cell: ({ version }) =>
        version === common ? version : <Status tone="warn">{version}</Status>,
    },
    {
      key: 'epoch',
      header: t('gateways.applied'),
      align: 'end',
      cell: ({ appliedEpoch }) => number(appliedEpoch),
    },
    {
      key: 'connections',
      header: t('gateways.connections'),
      align: 'end',
      cell: ({ connections }) => number(connections),
    },
    {
      key: 'workers',
      header: t('gateways.workers'),
      align: 'end',
      minor: true,
      cell: ({ workers }) => number(workers),
    },
    {
      key: 'started',
      header: t('gateways.started'),
      minor: true,
      cell: ({ startedAt }) => (startedAt === undefined ? '–' : <Ago at={startedAt} />),
    },
  ]
}
