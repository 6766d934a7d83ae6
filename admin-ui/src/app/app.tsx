/** The application: providers, the session, and which screen the address means. */
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { useState } from 'react'
import { Route, Switch } from 'wouter'
import type { SessionInfo } from '../../../gateway/admin/api/access.ts'
import { useLiveQueries } from '../api/events.ts'
import { ApiProblem } from '../api/http.ts'
import { SessionProvider, useSessionQuery } from '../api/session.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Page } from '../design/page.tsx'
import { ToastProvider } from '../design/toast.tsx'
import { TooltipProvider } from '../design/tooltip.tsx'
import { TextProvider, useText } from '../text/text.tsx'
import { Audit } from '../audit/audit.tsx'
import { Gateways } from '../gateways/gateways.tsx'
import { Overview } from '../overview/overview.tsx'
import { Search } from '../search/search.tsx'
import { TablePage } from '../tables/table-page.tsx'
import { Tables } from '../tables/tables.tsx'
import { LogIn } from '../session/log-in.tsx'
import { Layout } from './layout.tsx'
import { useShortcuts } from './shortcuts.ts'

const RETRIES_MAX = 2

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      // What the API refused is refused again; what got no answer may get one.
      retry: (count, error) =>
        count < RETRIES_MAX &&
        !(error instanceof ApiProblem && error.status >= 400 && error.status < 500),
    },
  },
})

export function App() {
  return (
    <QueryClientProvider client={queries}>
      <TextProvider>
        <TooltipProvider>
          <ToastProvider>
            <Gate />
          </ToastProvider>
        </TooltipProvider>
      </TextProvider>
    </QueryClientProvider>
  )
}

function Gate() {
  const session = useSessionQuery()
  return <Loaded query={session}>{(info) => <Screens info={info} />}</Loaded>
}

function Screens({ info }: { readonly info: SessionInfo }) {
  return (
    <SessionProvider info={info}>{info.me === undefined ? <LogIn /> : <Inside />}</SessionProvider>
  )
}

function Inside() {
  useLiveQueries()
  const [isSearching, setSearching] = useState(false)
  useShortcuts({ onSearch: () => setSearching(true) })
  return (
    <>
      <Layout onSearch={() => setSearching(true)}>
        <Switch>
          <Route path="/">
            <Overview />
          </Route>
          <Route path="/tables">
            <Tables />
          </Route>
          <Route path="/tables/:name/:tab?">
            <TablePage />
          </Route>
          <Route path="/gateways">
            <Gateways />
          </Route>
          <Route path="/audit">
            <Audit />
          </Route>
          <Route>
            <NotFound />
          </Route>
        </Switch>
      </Layout>
      <Search open={isSearching} onClose={() => setSearching(false)} />
    </>
  )
}

function NotFound() {
  const { t } = useText()
  return (
    <Page title={t('notFound.title')}>
      <Empty title={t('notFound.title')}>{t('notFound.words')}</Empty>
    </Page>
  )
}
