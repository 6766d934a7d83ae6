/** The application: providers, the session, and which screen the address means. */
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { useState } from 'react'
import type { SessionInfo } from '../../../gateway/admin/api/access.ts'
import { useLiveQueries } from '../api/events.ts'
import { ApiProblem } from '../api/http.ts'
import { SessionProvider, useSession, useSessionQuery } from '../api/session.tsx'
import { Loaded } from '../design/state.tsx'
import { ToastProvider } from '../design/toast.tsx'
import { TooltipProvider } from '../design/tooltip.tsx'
import { Search } from '../search/search.tsx'
import { LogInAgain } from '../session/log-in-again.tsx'
import { LogIn } from '../session/log-in.tsx'
import { TextProvider } from '../text/text.tsx'
import { KeyboardHelp } from './keyboard-help.tsx'
import { Layout } from './layout.tsx'
import { Screens } from './screens.tsx'
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
  // Once there is an answer, the page says in its own places when further ones fail.
  if (session.data !== undefined) return <Entrance info={session.data} />
  return <Loaded query={session}>{(info) => <Entrance info={info} />}</Loaded>
}

function Entrance({ info }: { readonly info: SessionInfo }) {
  return (
    <SessionProvider info={info}>
      <LoggedIn />
    </SessionProvider>
  )
}

function LoggedIn() {
  return useSession().info.me === undefined ? <LogIn /> : <Inside />
}

function Inside() {
  useLiveQueries()
  const [open, setOpen] = useState<'search' | 'help'>()
  useShortcuts({ onSearch: () => setOpen('search'), onHelp: () => setOpen('help') })
  const close = (): void => setOpen(undefined)
  return (
    <>
      <Layout onSearch={() => setOpen('search')} onHelp={() => setOpen('help')}>
        <Screens />
      </Layout>
      <Search open={open === 'search'} onClose={close} />
      <KeyboardHelp open={open === 'help'} onClose={close} />
      <LogInAgain />
    </>
  )
}
