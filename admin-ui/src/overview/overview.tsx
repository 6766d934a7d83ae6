/** The first screen: what is true now, each card a way to the list behind its number. */
import type { ReactNode } from 'react'
import { Link } from 'wouter'
import type { Overview as Facts } from '../../../gateway/admin/api/gateways.ts'
import { useAudit, useOverview } from '../api/queries.ts'
import { AuditLines } from '../audit/audit-lines.tsx'
import { FreshnessMark } from '../design/age.tsx'
import { Card } from '../design/card.tsx'
import { Icon, type IconName } from '../design/icon.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status, type Tone } from '../design/status.tsx'
import { stateWords } from '../tables/table-state.tsx'
import { useText } from '../text/text.tsx'
import styles from './overview.module.css'

const LINES = 12

export function Overview() {
  const { t } = useText()
  const overview = useOverview()
  return (
    <Page
      title={t('nav.overview')}
      facts={overview.data !== undefined && <FreshnessMark asOf={overview.data.asOf} />}
    >
      <Loaded query={overview} lines={6}>
        {(facts) => (
          <div className={styles.cards}>
            <TablesCard facts={facts} />
            <ClustersCard facts={facts} />
            <GatewaysCard facts={facts} />
            <ZooKeeperCard facts={facts} />
          </div>
        )}
      </Loaded>
      <LastChanges />
    </Page>
  )
}

/** One number, what it counts, and what about it needs somebody's attention. */
function NumberCard(props: {
  readonly icon: IconName
  readonly title: string
  readonly href: string
  readonly value: ReactNode
  readonly unit: string
  readonly children: ReactNode
}) {
  return (
    <section className={styles.card} aria-label={props.title}>
      <h2 className={styles.heading}>
        <Link href={props.href} className={styles.link ?? ''}>
          <Icon name={props.icon} />
          {props.title}
        </Link>
      </h2>
      <p className={styles.value}>
        {props.value} <span className={styles.unit}>{props.unit}</span>
      </p>
      <ul className={styles.points}>{props.children}</ul>
    </section>
  )
}

function Point(props: {
  readonly tone: Tone
  readonly href?: string
  readonly icon?: IconName
  readonly children: ReactNode
}) {
  const mark = (
    <Status tone={props.tone} {...(props.icon === undefined ? {} : { icon: props.icon })}>
      {props.children}
    </Status>
  )
  return <li>{props.href === undefined ? mark : <Link href={props.href}>{mark}</Link>}</li>
}

function TablesCard({ facts }: { readonly facts: Facts }) {
  const { t, number } = useText()
  const { total, byState, changedLast24h } = facts.tables
  const notable = Object.entries(byState).filter(([state, count]) => state !== 'ok' && count > 0)
  return (
    <NumberCard
      icon="tables"
      title={t('nav.tables')}
      href="/tables"
      value={number(total)}
      unit={t('overview.mapped')}
    >
      {notable.length === 0 && <Point tone="ok">{t('overview.allWell')}</Point>}
      {notable.map(([state, count]) => {
        const words = stateWords[state as keyof typeof stateWords]
        return (
          <Point key={state} tone={words.tone} icon={words.icon} href={`/tables?state=${state}`}>
            {number(count)} {t(words.text)}
          </Point>
        )
      })}
      <Point tone="neutral" icon="history" href="/tables?changed=24h&sort=-changed">
        {t('overview.changed24h', { count: changedLast24h })}
      </Point>
    </NumberCard>
  )
}

function ClustersCard({ facts }: { readonly facts: Facts }) {
  const { t, number } = useText()
  const { total, unregistered, drifted, unreachable } = facts.clusters
  return (
    <NumberCard
      icon="clusters"
      title={t('nav.clusters')}
      href="/clusters"
      value={number(total)}
      unit={t('overview.known')}
    >
      {unreachable > 0 && (
        <Point tone="bad" href="/clusters">
          {t('overview.unreachable', { count: unreachable })}
        </Point>
      )}
      {unregistered + drifted + unreachable === 0 && (
        <Point tone="ok">{t('overview.allRegistered')}</Point>
      )}
      {unregistered > 0 && (
        <Point tone="warn" href="/clusters">
          {t('overview.unregistered', { count: unregistered })}
        </Point>
      )}
      {drifted > 0 && (
        <Point tone="warn" icon="drift" href="/tables?state=drifted">
          {t('overview.drifted', { count: drifted })}
        </Point>
      )}
      <Point tone="neutral" icon="groups" href="/groups">
        {t('overview.groups', { count: facts.groups.total })}
      </Point>
    </NumberCard>
  )
}

function GatewaysCard({ facts }: { readonly facts: Facts }) {
  const { t, number } = useText()
  const { total, behind, draining, degraded, versions } = facts.gateways
  return (
    <NumberCard
      icon="gateways"
      title={t('nav.gateways')}
      href="/gateways"
      value={number(total)}
      unit={t('overview.running')}
    >
      {behind > 0 ? (
        <Point tone="warn" icon="clock">
          {t('overview.behind', { count: behind })}
        </Point>
      ) : (
        total > 0 && <Point tone="ok">{t('overview.allAt', { epoch: facts.fleetEpoch })}</Point>
      )}
      {degraded > 0 && <Point tone="bad">{t('overview.degraded', { count: degraded })}</Point>}
      {draining > 0 && <Point tone="info">{t('overview.draining', { count: draining })}</Point>}
      {versions.length > 1 && (
        <Point tone="warn">{t('overview.versions', { count: versions.length })}</Point>
      )}
    </NumberCard>
  )
}

function ZooKeeperCard({ facts }: { readonly facts: Facts }) {
  const { t, duration } = useText()
  const { state, lastAnswerAgeMs } = facts.zookeeper
  const isConnected = state === 'connected'
  return (
    <NumberCard
      icon="bolt"
      title="ZooKeeper"
      href="/gateways"
      value={lastAnswerAgeMs < 1000 ? '< 1 s' : duration(lastAnswerAgeMs)}
      unit={t('overview.sinceAnswer')}
    >
      <Point tone={isConnected ? 'ok' : 'bad'}>
        {isConnected ? t('overview.connected') : t('overview.notConnected', { state })}
      </Point>
    </NumberCard>
  )
}

function LastChanges() {
  const { t } = useText()
  const audit = useAudit({ limit: LINES })
  return (
    <Card
      title={t('overview.lastChanges')}
      aside={<Link href="/audit">{t('overview.allChanges')}</Link>}
      flush
    >
      <Loaded query={audit} lines={5}>
        {({ pages }) => {
          const entries = pages[0]?.entries ?? []
          return entries.length === 0 ? (
            <Empty icon="audit" title={t('audit.none')}>
              {t('audit.noneWords')}
            </Empty>
          ) : (
            <AuditLines entries={entries} />
          )
        }}
      </Loaded>
    </Card>
  )
}
