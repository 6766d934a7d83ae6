/**
 * The fleet as its gateways tell of themselves: who is behind, degraded, draining, how busy each is,
 * and whose version or configuration is another one.
 */
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
import { FigureValue, figures } from './load-figures.tsx'
import { skewOf } from './skew.ts'
import styles from './gateways.module.css'

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
              <>
                {list.gateways.some((one) => skewOf(list.gateways, one).config) && (
                  <p className={styles.note}>{t('gateways.differsWords')}</p>
                )}
                <DataTable
                  label={t('nav.gateways')}
                  rows={list.gateways}
                  rowKey={({ id }) => id}
                  columns={columnsOf(text, list.gateways)}
                />
              </>
            )
          }
        </Loaded>
      </Card>
    </Page>
  )
}

function columnsOf(text: Text, gateways: readonly Gateway[]): Column<Gateway>[] {
  const { t, number } = text
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
    ...figures.map((figure): Column<Gateway> => ({
      key: figure.key,
      header: <span title={t(figure.hint)}>{t(figure.label)}</span>,
      align: 'end',
      cell: (gateway) => <FigureValue figure={figure} gateway={gateway} />,
    })),
    {
      key: 'connections',
      header: t('gateways.connections'),
      align: 'end',
      cell: ({ connections }) => number(connections),
    },
    {
      key: 'epoch',
      header: t('gateways.applied'),
      align: 'end',
      cell: ({ appliedEpoch }) => number(appliedEpoch),
    },
    {
      key: 'version',
      header: t('gateways.version'),
      cell: (gateway) =>
        skewOf(gateways, gateway).version ? (
          <Status tone="warn">{gateway.version}</Status>
        ) : (
          gateway.version
        ),
    },
    {
      key: 'config',
      header: t('gateways.config'),
      cell: (gateway) => (
        <span className={styles.figure}>
          <code>{gateway.configHash ?? '–'}</code>{' '}
          {skewOf(gateways, gateway).config && <Status tone="warn">{t('gateways.differs')}</Status>}
        </span>
      ),
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
    { key: 'rpc', header: t('gateways.clients'), cell: ({ rpc }) => rpc.join(', '), minor: true },
  ]
}
