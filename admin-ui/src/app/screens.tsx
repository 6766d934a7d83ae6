/**
 * The screens by their address. Each is a file of its own, so that the first load is small; the
 * others are fetched while the browser is idle, so that they are there when the gateway is not.
 */
import { Component, lazy, type ReactNode, Suspense, useEffect } from 'react'
import { Link, Route, Switch } from 'wouter'
import { Button } from '../design/button.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Skeleton } from '../design/state.tsx'
import { useText } from '../text/text.tsx'

const load = {
  overview: async () => ({ default: (await import('../overview/overview.tsx')).Overview }),
  tables: async () => ({ default: (await import('../tables/tables.tsx')).Tables }),
  tablePage: async () => ({ default: (await import('../tables/table-page.tsx')).TablePage }),
  clusters: async () => ({ default: (await import('../clusters/clusters.tsx')).Clusters }),
  clusterPage: async () => ({
    default: (await import('../clusters/cluster-page.tsx')).ClusterPage,
  }),
  groups: async () => ({ default: (await import('../groups/groups.tsx')).Groups }),
  groupPage: async () => ({ default: (await import('../groups/group-page.tsx')).GroupPage }),
  gateways: async () => ({ default: (await import('../gateways/gateways.tsx')).Gateways }),
  gatewayPage: async () => ({
    default: (await import('../gateways/gateway-page.tsx')).GatewayPage,
  }),
  approvals: async () => ({ default: (await import('../approvals/approvals.tsx')).Approvals }),
  approvalPage: async () => ({
    default: (await import('../approvals/approval-page.tsx')).ApprovalPage,
  }),
  audit: async () => ({ default: (await import('../audit/audit.tsx')).Audit }),
  settings: async () => ({ default: (await import('../settings/settings.tsx')).Settings }),
}

const Overview = lazy(load.overview)
const Tables = lazy(load.tables)
const TablePage = lazy(load.tablePage)
const Clusters = lazy(load.clusters)
const ClusterPage = lazy(load.clusterPage)
const Groups = lazy(load.groups)
const GroupPage = lazy(load.groupPage)
const Gateways = lazy(load.gateways)
const GatewayPage = lazy(load.gatewayPage)
const Approvals = lazy(load.approvals)
const ApprovalPage = lazy(load.approvalPage)
const Audit = lazy(load.audit)
const Settings = lazy(load.settings)

const routes: readonly (readonly [string, ReactNode])[] = [
  ['/', <Overview />],
  ['/tables', <Tables />],
  ['/tables/:name/:tab?', <TablePage />],
  ['/clusters', <Clusters />],
  ['/clusters/:name/:tab?', <ClusterPage />],
  ['/groups', <Groups />],
  ['/groups/:name', <GroupPage />],
  ['/gateways', <Gateways />],
  ['/gateways/:id', <GatewayPage />],
  ['/approvals', <Approvals />],
  ['/approvals/:id', <ApprovalPage />],
  ['/audit', <Audit />],
  ['/settings/:tab?', <Settings />],
]

const IDLE_MS = 4000

function useOthersWhenIdle(): void {
  useEffect(() => {
    const timer = setTimeout(() => {
      // A failed one is asked for again when somebody goes there.
      for (const one of Object.values(load)) one().catch(() => {})
    }, IDLE_MS)
    return () => clearTimeout(timer)
  }, [])
}

export function Screens() {
  useOthersWhenIdle()
  return (
    <Switch>
      {routes.map(([path, screen]) => (
        <Route key={path} path={path}>
          <Boundary>
            <Suspense fallback={<Skeleton lines={6} />}>{screen}</Suspense>
          </Boundary>
        </Route>
      ))}
      <Route>
        <NotFound />
      </Route>
    </Switch>
  )
}

function NotFound() {
  const { t } = useText()
  return (
    <Page title={t('notFound.title')}>
      <Empty title={t('notFound.title')} action={<Link href="/">{t('notFound.toOverview')}</Link>}>
        {t('notFound.words')}
      </Empty>
    </Page>
  )
}

/** A screen that could not be fetched, or failed, takes only itself down. */
class Boundary extends Component<{ readonly children: ReactNode }, { readonly error?: unknown }> {
  override state: { readonly error?: unknown } = {}

  static getDerivedStateFromError(error: unknown): { readonly error: unknown } {
    return { error }
  }

  override render(): ReactNode {
    return 'error' in this.state ? <Broken error={this.state.error} /> : this.props.children
  }
}

function Broken({ error }: { readonly error: unknown }) {
  const { t } = useText()
  return (
    <Page title={t('state.broken')}>
      <Empty
        icon="error"
        title={t('state.broken')}
        action={
          <Button icon="refresh" onClick={() => location.reload()}>
            {t('state.reload')}
          </Button>
        }
      >
        {error instanceof Error ? error.message : String(error)}
      </Empty>
    </Page>
  )
}
