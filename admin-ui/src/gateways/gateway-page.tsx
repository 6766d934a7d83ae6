/**
 * One gateway: what its node in ZooKeeper tells, and what it says itself when it is asked: its last
 * warnings and errors and the configuration that it runs with. Draining it and taking that back.
 */
import { Link, useRoute, useSearchParams } from 'wouter'
import type { Gateway, LogLine } from '../../../gateway/admin/api/gateways.ts'
import { useGateway, useGateways } from '../api/queries.ts'
import { useMayNot } from '../app/may-not.ts'
import { Ago, FreshnessMark } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Columns, Fact, Facts, Stack } from '../design/facts.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { type Text, useText } from '../text/text.tsx'
import { Asked, Silent } from './asked.tsx'
import { ConfigTable } from './config-table.tsx'
import { DrainDialog } from './drain-dialog.tsx'
import { gatewayHref, GatewayState } from './gateway-state.tsx'
import { FigureValue, figures } from './load-figures.tsx'
import { skewOf } from './skew.ts'
import styles from './gateways.module.css'

export function GatewayPage() {
  const [, params] = useRoute('/gateways/:id')
  const id = params?.id ?? ''
  const { t } = useText()
  const parent = { href: '/gateways', label: t('nav.gateways') }
  const list = useGateways()
  const gateway = list.data?.gateways.find((one) => one.id === id)
  const [search, setSearch] = useSearchParams()
  if (list.data !== undefined && gateway === undefined)
    return (
      <Page title={id} parent={parent}>
        <Empty icon="gateways" title={t('gateway.absent', { id })}>
          {t('gateway.absentWords')}
        </Empty>
      </Page>
    )
  return (
    <Page
      title={id}
      parent={parent}
      facts={
        gateway !== undefined && (
          <>
            {gateway.self && <Status tone="info">{t('gateways.thisOne')}</Status>}
            <GatewayState gateway={gateway} />
            {list.data !== undefined && <FreshnessMark asOf={list.data.asOf} />}
          </>
        )
      }
      actions={gateway !== undefined && <Actions gateway={gateway} />}
    >
      <Loaded query={list}>
        {() =>
          gateway !== undefined && (
            <>
              <Known gateway={gateway} fleet={list.data?.gateways ?? []} />
              <Told id={id} />
              {search.has('drain') && (
                <DrainDialog gateway={gateway} onClose={() => setSearch({}, { replace: true })} />
              )}
            </>
          )
        }
      </Loaded>
    </Page>
  )
}

function Actions({ gateway }: { readonly gateway: Gateway }) {
  const { t } = useText()
  const [, setSearch] = useSearchParams()
  const mayNot = useMayNot('gateways.drain')
  const isWished = gateway.drain !== undefined
  // One that drains because it ends does not come back.
  const reason = mayNot ?? (gateway.draining && !isWished ? t('gateway.ends') : undefined)
  return (
    <Button
      icon={isWished ? 'undo' : 'drain'}
      reason={reason}
      onClick={() => setSearch({ drain: '' })}
    >
      {t(isWished ? 'gateway.resume' : 'gateway.drain')}
    </Button>
  )
}

function Known(props: { readonly gateway: Gateway; readonly fleet: readonly Gateway[] }) {
  const { gateway, fleet } = props
  const { t, number } = useText()
  const { drain, startedAt } = gateway
  const skew = skewOf(fleet, gateway)
  return (
    <Columns>
      <Card title={t('gateway.process')}>
        <Facts>
          <Fact label={t('gateways.version')}>
            {gateway.version}{' '}
            {skew.version && <Status tone="warn">{t('gateway.differsFrom')}</Status>}
          </Fact>
          <Fact label={t('gateways.config')}>
            <code>{gateway.configHash ?? '–'}</code>{' '}
            {skew.config && <Status tone="warn">{t('gateway.differsFrom')}</Status>}{' '}
            {skew.compareWith !== undefined && (
              <Link href={gatewayHref(skew.compareWith)}>
                {t('gateway.compare', { id: skew.compareWith })}
              </Link>
            )}
          </Fact>
          <Fact label={t('gateway.host')}>{gateway.host}</Fact>
          <Fact label={t('gateways.clients')}>{gateway.rpc.join(', ')}</Fact>
          <Fact label={t('gateway.http')}>{gateway.http}</Fact>
          <Fact label={t('gateways.workers')}>{number(gateway.workers)}</Fact>
          <Fact label={t('gateways.started')}>
            {startedAt === undefined ? '–' : <Ago at={startedAt} />}
          </Fact>
        </Facts>
      </Card>
      <Card title={t('gateway.load')}>
        <Facts>
          {figures.map((figure) => (
            <Fact key={figure.key} label={t(figure.label)} hint={t(figure.hint)}>
              <FigureValue figure={figure} gateway={gateway} />
            </Fact>
          ))}
        </Facts>
      </Card>
      <Card title={t('gateway.serving')}>
        <Facts>
          <Fact label={t('gateways.state')}>
            <GatewayState gateway={gateway} />
          </Fact>
          {drain !== undefined && (
            <Fact label={t('gateway.drainedBy')}>
              {drain.actor} · <Ago at={drain.at} />
              {drain.reason !== undefined && ` · ${drain.reason}`}
            </Fact>
          )}
          <Fact label="ZooKeeper">{gateway.zookeeper}</Fact>
          <Fact label={t('gateways.connections')}>{number(gateway.connections)}</Fact>
          <Fact label={t('gateways.applied')}>
            {number(gateway.appliedEpoch)}
            {gateway.behind > 0 && ` · ${t('gateways.behind', { count: gateway.behind })}`}
          </Fact>
          <Fact label={t('gateway.routing')}>{number(gateway.routingEpoch)}</Fact>
        </Facts>
      </Card>
    </Columns>
  )
}

/** Asked when the page is opened, and again by hand. */
function Told({ id }: { readonly id: string }) {
  const text = useText()
  const { t } = text
  const detail = useGateway(id)
  return (
    <Stack>
      <Card title={t('gateway.recent')} aside={<Asked query={detail} />} flush>
        <Loaded query={detail}>
          {({ recent, silent }) => (
            <>
              <Silent silent={silent} />
              {recent?.length === 0 && (
                <Empty icon="check" title={t('gateway.calm')}>
                  {t('gateway.calmWords')}
                </Empty>
              )}
              {recent !== undefined && recent.length > 0 && (
                <DataTable
                  label={t('gateway.recent')}
                  rows={recent.map((line, index) => ({ ...line, index }))}
                  rowKey={({ index }) => String(index)}
                  columns={columnsOf(text)}
                />
              )}
            </>
          )}
        </Loaded>
      </Card>
      {detail.data?.config !== undefined && (
        <Card title={t('about.config')} flush>
          <ConfigTable options={detail.data.config} />
        </Card>
      )}
    </Stack>
  )
}

function columnsOf({ t }: Text): Column<LogLine>[] {
  return [
    { key: 'at', header: t('audit.when'), cell: ({ at }) => <Ago at={at} /> },
    {
      key: 'level',
      header: t('gateway.level'),
      cell: ({ level }) => (
        <Status tone={level === 'error' ? 'bad' : 'warn'}>
          {t(level === 'error' ? 'gateway.error' : 'gateway.warning')}
        </Status>
      ),
    },
    {
      key: 'event',
      header: t('events.what'),
      cell: ({ event, fields }) => (
        <>
          {event} <code className={styles.fields}>{fields}</code>
        </>
      ),
    },
    {
      key: 'process',
      header: t('gateway.worker'),
      minor: true,
      cell: ({ process }) => process ?? '–',
    },
  ]
}
