/**
 * Where clients of a table are sent, by the three who can know: what ZooKeeper holds, what gateways
 * serve, what the cluster's meta servers say. When they disagree, that is the thing to see.
 */
import { useMutation } from '@tanstack/react-query'
import { Fragment } from 'react'
import { Link } from 'wouter'
import type { ProbeResult, Table, TableRoute } from '../../../gateway/admin/api/tables.ts'
import { call } from '../api/http.ts'
import { tablePath, useTableRoute } from '../api/queries.ts'
import { MetaLines } from '../clusters/meta-lines.tsx'
import { Ago, FreshnessMark } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { Columns, Fact, Facts, Muted, Stack } from '../design/facts.tsx'
import { laidOut } from '../design/diff-words.ts'
import { Failure, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'
import { ServedRoutes } from './served-routes.tsx'
import { ClusterLink } from './table-columns.tsx'
import styles from './table-page.module.css'

export function RouteTab({ table }: { readonly table: Table }) {
  const { t } = useText()
  const route = useTableRoute(table.name)
  return (
    <Columns>
      <Loaded query={route}>
        {(found) => (
          <>
            <Stored table={table} route={found} />
            <ServedRoutes table={table} route={found} />
          </>
        )}
      </Loaded>
      <AskedMetas table={table} />
      {table.problem !== undefined && (
        <Card title={t('route.problem')}>
          <Status tone="bad" wraps>
            {table.problem.field === '' ? '' : `${table.problem.field}: `}
            {table.problem.message}
          </Status>
        </Card>
      )}
    </Columns>
  )
}

function Stored({ table, route }: { readonly table: Table; readonly route: TableRoute }) {
  const { t } = useText()
  const { zookeeper } = route
  return (
    <Card title={t('route.stored')} aside={<FreshnessMark asOf={route.asOf} />}>
      <Facts>
        <Fact label={t('tables.cluster')}>
          <ClusterLink name={table.cluster} />
        </Fact>
        <Fact label={t('form.metas')}>{table.metas?.join(', ') ?? '–'}</Fact>
        {table.redirect !== undefined && (
          <Fact label={t('tableState.redirected')}>
            <Status tone="info" icon="redirect" wraps>
              {t('route.redirect', { to: table.redirect.to, plan: table.redirect.plan })}
            </Status>
          </Fact>
        )}
        {table.memberOf.length > 0 && (
          <Fact label={t('tables.group')}>
            <GroupLinks names={table.memberOf} />
          </Fact>
        )}
        {table.standby !== undefined && (
          <Fact label={t('form.standby')}>
            <ClusterLink name={table.standby} />
          </Fact>
        )}
        {table.stale !== undefined && (
          <Fact label={t('form.stale')}>
            <code>{table.stale}</code>
          </Fact>
        )}
        {table.note !== undefined && (
          <Fact label={t('tables.note')}>
            <span className={styles.note}>{table.note}</span>
          </Fact>
        )}
        <Fact label={t('tables.changed')}>
          <Ago at={zookeeper.modifiedAt} />
          {table.changedBy !== undefined && ` · ${table.changedBy.actor}`}
        </Fact>
        <Fact label={t('route.version')}>
          {zookeeper.version} · zxid {zookeeper.zxid}
          {table.form !== undefined && ` · ${t('route.form', { form: table.form })}`}
        </Fact>
        <Fact label={t('route.node')}>
          <code>{zookeeper.path}</code>
        </Fact>
      </Facts>
      <details className={styles.raw}>
        <summary>{t('route.raw')}</summary>
        <pre tabIndex={0}>{laidOut(zookeeper.raw)}</pre>
      </details>
    </Card>
  )
}

function GroupLinks({ names }: { readonly names: readonly string[] }) {
  return names.map((name, at) => (
    <Fragment key={name}>
      {at > 0 && ', '}
      <Link href={`/groups/${encodeURIComponent(name)}`}>{name}</Link>
    </Fragment>
  ))
}

function AskedMetas({ table }: { readonly table: Table }) {
  const { t } = useText()
  const probe = useMutation({
    mutationFn: async () =>
      (await call<ProbeResult>(`${tablePath(table.name)}:probe`, { method: 'POST', body: {} }))
        .data,
  })
  return (
    <Card
      title={t('route.asked')}
      aside={
        <Button icon="bolt" busy={probe.isPending} onClick={() => probe.mutate()}>
          {t('route.probe')}
        </Button>
      }
    >
      {probe.isError && <Failure error={probe.error} />}
      {probe.data === undefined ? (
        <Muted>{t('route.notAsked')}</Muted>
      ) : (
        <Probed result={probe.data} />
      )}
    </Card>
  )
}

function Probed({ result }: { readonly result: ProbeResult }) {
  const { t } = useText()
  const { table, metas, checks, elapsedMs } = result
  return (
    <Stack>
      <Facts>
        <Fact label={t('route.table')}>
          {table === undefined ? (
            <Status tone="bad">{t('route.nobodySaid')}</Status>
          ) : table.exists ? (
            <Status tone="ok">
              {t('route.exists', { id: table.appId ?? 0, count: table.partitionCount ?? 0 })}
            </Status>
          ) : (
            <Status tone="bad" icon="unlink">
              {table.error ?? t('route.notThere')}
            </Status>
          )}
        </Fact>
        <Fact label={t('route.took')}>{t('route.ms', { ms: elapsedMs })}</Fact>
      </Facts>
      <MetaLines metas={metas} />
      <ul className={styles.checks}>
        {checks.map(({ id, level, message }) => (
          <li key={`${id} ${message}`}>
            <Status tone={level === 'error' ? 'bad' : level === 'warning' ? 'warn' : 'ok'} wraps>
              {message}
            </Status>
          </li>
        ))}
      </ul>
    </Stack>
  )
}
