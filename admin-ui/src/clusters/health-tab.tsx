/** What a cluster's servers say now, beside what the registry and the mappings have of it. */
import type { ReactNode } from 'react'
import { Link } from 'wouter'
import type { Cluster, ClusterHealth } from '../../../gateway/admin/api/clusters.ts'
import { useClusterHealth } from '../api/queries.ts'
import { Ago } from '../design/age.tsx'
import { Card } from '../design/card.tsx'
import { Columns, Fact, Facts, Line, Lines, Muted, Stack } from '../design/facts.tsx'
import { Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'
import { clusterHref } from './clusters.tsx'
import styles from './health-tab.module.css'
import { MetaLines } from './meta-lines.tsx'

export function HealthTab({ cluster }: { readonly cluster: Cluster }) {
  const { t } = useText()
  const health = useClusterHealth(cluster.name)
  return (
    <Columns>
      <Stack>
        <Registry cluster={cluster} />
        {health.data !== undefined && <Info info={health.data.info} />}
      </Stack>
      <Loaded query={health}>
        {(found) => (
          <Stack>
            <Card title={t('form.metas')} aside={<Ago at={found.askedAt} />}>
              <Reasons health={found} />
              <MetaLines metas={found.metas} />
            </Card>
            <Nodes health={found} />
          </Stack>
        )}
      </Loaded>
    </Columns>
  )
}

function Registry({ cluster }: { readonly cluster: Cluster }) {
  const { t } = useText()
  const { registered, metas, peer, note, tables, drift, modifiedAt } = cluster
  return (
    <Card
      title={t('clusters.registry')}
      aside={
        registered ? (
          <Status tone="ok">{t('clusters.registered')}</Status>
        ) : (
          <Status tone="warn">{t('clusters.unregistered')}</Status>
        )
      }
    >
      <Facts>
        <Fact label={t('form.metas')}>
          <code>{metas.join(', ') || '–'}</code>
        </Fact>
        <Fact label={t('nav.tables')}>
          <Link href={`/tables?cluster=${encodeURIComponent(cluster.name)}`}>
            {t('clusters.mapped', { count: tables })}
          </Link>
        </Fact>
        <Fact label={t('clusters.peer')}>
          {peer === undefined ? '–' : <Link href={clusterHref(peer)}>{peer}</Link>}
        </Fact>
        {note !== undefined && <Fact label={t('tables.note')}>{note}</Fact>}
        {modifiedAt !== undefined && (
          <Fact label={t('tables.changed')}>
            <Ago at={modifiedAt} />
          </Fact>
        )}
        {drift.map((one) => (
          <Fact key={one.metas.join()} label={t('tableState.drifted')}>
            <Status tone="warn" icon="drift">
              {t('clusters.driftTables', { count: one.tables })}
            </Status>{' '}
            <code>{one.metas.join(', ')}</code>
          </Fact>
        ))}
      </Facts>
      {!registered && <Muted>{t('clusters.unregisteredWords')}</Muted>}
    </Card>
  )
}

/** Since when it is not healthy, and why; what is about a meta server stands at its line below. */
function Reasons({
  health: { reasons, state, since, metas },
}: {
  readonly health: ClusterHealth
}): ReactNode {
  const { t } = useText()
  if (reasons.length === 0) return null
  const others = reasons.filter(
    (reason) => !metas.some(({ address }) => reason.startsWith(`meta ${address}: `)),
  )
  return (
    <div className={styles.reasons}>
      <Status tone={state === 'unreachable' ? 'bad' : 'warn'}>
        {t(`clusters.is.${state}`)} · <Ago at={since} />
      </Status>
      {others.length > 0 && (
        <ul aria-label={t('clusters.why')}>
          {others.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      )}
    </div>
  )
}

function Nodes({ health: { nodes } }: { readonly health: ClusterHealth }) {
  const { t } = useText()
  const alive = nodes.filter((node) => node.alive).length
  return (
    <Card
      title={t('clusters.nodes')}
      aside={
        nodes.length > 0 && (
          <Status tone={alive === nodes.length ? 'ok' : 'warn'}>
            {t('clusters.alive', { alive, count: nodes.length })}
          </Status>
        )
      }
    >
      {nodes.length === 0 ? (
        <Muted>{t('clusters.noNodes')}</Muted>
      ) : (
        <Lines label={t('clusters.nodes')}>
          {nodes.map((node) => (
            <Line key={node.address} name={<code>{node.address}</code>}>
              <Status tone={node.alive ? 'ok' : 'bad'}>
                {t(node.alive ? 'clusters.nodeAlive' : 'clusters.nodeDead')}
              </Status>
            </Line>
          ))}
        </Lines>
      )}
    </Card>
  )
}

function Info({ info }: { readonly info: Readonly<Record<string, string>> }) {
  const { t } = useText()
  const entries = Object.entries(info)
  if (entries.length === 0) return null
  return (
    <Card title={t('clusters.info')}>
      <Facts>
        {entries.map(([key, value]) => (
          <Fact key={key} label={key}>
            <code>{value}</code>
          </Fact>
        ))}
      </Facts>
    </Card>
  )
}
