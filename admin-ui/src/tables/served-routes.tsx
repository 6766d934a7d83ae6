/**
 * What gateways serve of a table: how far each has applied the fleet's changes, which is always
 * known; and, when they are asked, the very route that each of them and its workers answer.
 */
import type { ServedRoute, TableRoutes } from '../../../gateway/admin/api/table-fleet.ts'
import type { Table, TableRoute } from '../../../gateway/admin/api/tables.ts'
import { useTableRoutes } from '../api/queries.ts'
import { Card } from '../design/card.tsx'
import { Line, Lines } from '../design/facts.tsx'
import { Failure } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { Asked } from '../gateways/asked.tsx'
import { gatewayHref } from '../gateways/gateway-state.tsx'
import { useText } from '../text/text.tsx'
import { Link } from 'wouter'
import styles from './table-page.module.css'

type Gateway = TableRoute['gateways'][number]

export function ServedRoutes(props: { readonly table: Table; readonly route: TableRoute }) {
  const { t } = useText()
  const asked = useTableRoutes(props.table.name)
  const told = new Map(asked.data?.gateways.map((gateway) => [gateway.id, gateway]))
  const silent = new Map(asked.data?.silent.map(({ id, reason }) => [id, reason]))
  return (
    <Card title={t('route.served')} aside={<Asked query={asked} />}>
      {asked.isError && <Failure error={asked.error} />}
      <p className={styles.verdict}>
        {asked.data === undefined ? (
          <Applied gateways={props.route.gateways} />
        ) : (
          <Agreed routes={asked.data} />
        )}
      </p>
      <Lines label={t('route.served')}>
        {props.route.gateways.map((gateway) => (
          <GatewayLine
            key={gateway.id}
            gateway={gateway}
            serves={told.get(gateway.id)?.serves}
            agrees={told.get(gateway.id)?.agrees}
            silent={silent.get(gateway.id)}
          />
        ))}
      </Lines>
    </Card>
  )
}

function Applied({ gateways }: { readonly gateways: readonly Gateway[] }) {
  const { t } = useText()
  const behind = gateways.filter((gateway) => gateway.behind > 0)
  return behind.length === 0 ? (
    <Status tone="ok">{t('route.allApplied', { count: gateways.length })}</Status>
  ) : (
    <Status tone="warn" icon="clock">
      {t('overview.behind', { count: behind.length })}
    </Status>
  )
}

function Agreed({ routes }: { readonly routes: TableRoutes }) {
  const { t } = useText()
  const others = routes.gateways.filter(({ agrees }) => agrees === false).length
  return (
    <>
      {others > 0 ? (
        <Status tone="bad">{t('route.otherRoute', { count: others })}</Status>
      ) : (
        routes.answered.length > 0 && (
          <Status tone="ok">{t('route.allAgree', { count: routes.answered.length })}</Status>
        )
      )}
      {routes.silent.length > 0 && (
        <Status tone="warn" icon="clock">
          {t('route.silent', { count: routes.silent.length })}
        </Status>
      )}
    </>
  )
}

function GatewayLine(props: {
  readonly gateway: Gateway
  readonly serves: ServedRoute | undefined
  readonly agrees: boolean | undefined
  /** Why it did not answer. */
  readonly silent: string | undefined
}) {
  const { t } = useText()
  const { gateway, serves, agrees, silent } = props
  return (
    <Line
      name={
        <>
          <Link href={gatewayHref(gateway.id)}>{gateway.id}</Link>{' '}
          {gateway.self && <Status tone="info">{t('gateways.thisOne')}</Status>}
          {serves !== undefined && <RouteFacts serves={serves} />}
          {silent !== undefined && <span className={styles.detail}>{silent}</span>}
        </>
      }
    >
      {serves !== undefined && <Served serves={serves} agrees={agrees ?? true} />}
      {silent !== undefined && (
        <Status tone="warn" icon="clock">
          {t('route.noAnswer')}
        </Status>
      )}
      {gateway.behind > 0 ? (
        <Status tone="warn" icon="clock">
          {t('gateways.behind', { count: gateway.behind })}
        </Status>
      ) : (
        serves === undefined &&
        silent === undefined && <Status tone="ok">{t('gateways.ok')}</Status>
      )}
    </Line>
  )
}

const kinds = {
  missing: 'route.serves.missing',
  invalid: 'route.serves.invalid',
  unavailable: 'route.serves.unavailable',
  unread: 'route.unread',
} as const

/** The cluster that it sends clients to, or what it answers instead. */
function Served(props: { readonly serves: ServedRoute; readonly agrees: boolean }) {
  const { t } = useText()
  const { serves, agrees } = props
  const words =
    serves.kind === 'route'
      ? (serves.cluster ?? '–')
      : serves.kind in kinds
        ? t(kinds[serves.kind as keyof typeof kinds])
        : serves.kind
  const tone = !agrees ? 'bad' : serves.kind === 'unread' ? 'neutral' : 'ok'
  return (
    <>
      <Status tone={tone}>{words}</Status>
      {serves.differing.map(({ process, cluster, kind }) => (
        <Status key={process} tone="bad">
          {t('route.worker', { process, serves: cluster ?? kind })}
        </Status>
      ))}
    </>
  )
}

function RouteFacts({ serves }: { readonly serves: ServedRoute }) {
  const { t, duration } = useText()
  const { version, readAgoMs, plan, unconfirmedMs, mappedCluster } = serves
  const facts = [
    version === undefined ? '' : t('route.ofVersion', { version }),
    readAgoMs === undefined ? '' : t('route.readAgo', { age: duration(readAgoMs) }),
    plan === undefined ? '' : t('route.byPlan', { plan, from: mappedCluster ?? '–' }),
    unconfirmedMs === undefined ? '' : t('route.unconfirmed', { age: duration(unconfirmedMs) }),
  ].filter(Boolean)
  return facts.length === 0 ? null : <span className={styles.detail}>{facts.join(' · ')}</span>
}
