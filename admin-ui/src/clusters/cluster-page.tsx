/**
 * One cluster: what it says of itself, what the registry has, and what it hosts against what is
 * mapped to it (admin-ui.md 3.6). Duplication checks and switches come with the DR switch.
 */
import { useLocation, useRoute, useSearchParams } from 'wouter'
import type { Cluster } from '../../../gateway/admin/api/clusters.ts'
import { ApiProblem } from '../api/http.ts'
import { clusterPath, useCluster } from '../api/queries.ts'
import { useMayNot } from '../app/may-not.ts'
import { RemoveDialog } from '../changes/remove-dialog.tsx'
import { Button, IconButton } from '../design/button.tsx'
import { Menu, MenuItem } from '../design/menu.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Tabs } from '../design/tabs.tsx'
import { useText } from '../text/text.tsx'
import { draftOf, versionOf } from './cluster-entry.ts'
import { clusterHref } from './clusters.tsx'
import { HealthMark } from './health-mark.tsx'
import { HealthTab } from './health-tab.tsx'
import { ReconcileTab } from './reconcile-tab.tsx'
import { RegisterDialog } from './register-dialog.tsx'
import { ReplaceMetaDialog } from './replace-meta-dialog.tsx'

const tabs = ['health', 'tables'] as const

export function ClusterPage() {
  const [, params] = useRoute('/clusters/:name/:tab?')
  const name = params?.name ?? ''
  const { t } = useText()
  const parent = { href: '/clusters', label: t('nav.clusters') }
  const cluster = useCluster(name)
  const tab = tabs.find((one) => one === params?.tab) ?? 'health'
  if (cluster.error instanceof ApiProblem && cluster.error.status === 404)
    return (
      <Page title={name} parent={parent}>
        <Empty icon="clusters" title={t('clusters.absent', { name })}>
          {t('clusters.absentWords')}
        </Empty>
      </Page>
    )
  const href = clusterHref(name)
  return (
    <Page
      title={name}
      parent={parent}
      facts={<HealthMark name={name} />}
      actions={cluster.data !== undefined && <Actions cluster={cluster.data} />}
    >
      <Tabs
        label={t('clusters.tabs')}
        current={`${href}/${tab}`}
        tabs={[
          { href: `${href}/health`, label: t('clusters.health') },
          { href: `${href}/tables`, label: t('nav.tables') },
        ]}
      />
      <Loaded query={cluster}>
        {(found) => (
          <>
            {tab === 'health' ? <HealthTab cluster={found} /> : <ReconcileTab cluster={found} />}
            <Dialogs cluster={found} />
          </>
        )}
      </Loaded>
    </Page>
  )
}

function Actions({ cluster }: { readonly cluster: Cluster }) {
  const { t } = useText()
  const [, setParams] = useSearchParams()
  const mayNotRegister = useMayNot('clusters.edit')
  const mayNotMap = useMayNot('tables.edit')
  return (
    <>
      <Button icon="refresh" reason={mayNotMap} onClick={() => setParams({ replace: '' })}>
        {t('clusters.replaceMeta')}
      </Button>
      <Button icon="edit" reason={mayNotRegister} onClick={() => setParams({ edit: '' })}>
        {cluster.registered ? t('action.edit') : t('clusters.registerThis')}
      </Button>
      {cluster.registered && (
        <Menu trigger={<IconButton icon="more" label={t('table.more')} look="secondary" />}>
          <MenuItem
            icon="trash"
            danger
            reason={mayNotRegister}
            onSelect={() => setParams({ remove: '' })}
          >
            {t('clusters.remove')}
          </MenuItem>
        </Menu>
      )}
    </>
  )
}

function Dialogs({ cluster }: { readonly cluster: Cluster }) {
  const { t } = useText()
  const { name } = cluster
  const [, go] = useLocation()
  const [params, setParams] = useSearchParams()
  const close = (): void => setParams({}, { replace: true })
  if (params.has('edit')) {
    const base = versionOf(cluster)
    return (
      <RegisterDialog
        base={base}
        {...(base === undefined ? { first: draftOf(cluster) } : {})}
        onClose={close}
      />
    )
  }
  if (params.has('replace')) return <ReplaceMetaDialog cluster={cluster} onClose={close} />
  if (params.has('remove'))
    return (
      <RemoveDialog
        removal={{
          name,
          path: clusterPath(name),
          etag: cluster.etag,
          title: t('clusters.removeTitle', { name }),
          words: t('clusters.removeWords'),
          verb: t('clusters.removeButton', { name }),
          done: t('clusters.removed', { name }),
          touches: ['clusters', 'cluster'],
        }}
        onClose={close}
        onRemoved={() => go('/clusters')}
      />
    )
  return null
}
