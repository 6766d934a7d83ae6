/**
 * Who is logged in and what they may do; the page below it is shown to them alone. A session that
 * ends leaves the page as it is, unsaved input too, and asks to log in again above it.
 */
import { type QueryClient, useQuery, useQueryClient } from '@tanstack/react-query'
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from 'react'
import type { SessionInfo } from '../../../gateway/admin/api/access.ts'
import type { Right } from '../../../gateway/admin/api/roles.ts'
import { call, onSessionEnd, read, setCsrfToken } from './http.ts'

export interface Session {
  readonly info: SessionInfo
  /** The session ended although nobody logged out; `info` is still of who was here. */
  readonly hasEnded: boolean
  /** Whether some grant gives the right, whatever its scope; the API judges the rest. */
  readonly may: (right: Right) => boolean
  readonly logIn: (name: string, password: string) => Promise<void>
  readonly logOut: () => Promise<void>
  /** After a log-in elsewhere, such as at the identity provider in another window. */
  readonly readAgain: () => Promise<void>
}

const Context = createContext<Session | undefined>(undefined)
const KEY = ['session'] as const

/** A session nearly over is seen to end this soon. */
const LOOK_MS = 60_000

function markEnded(queries: QueryClient): void {
  setCsrfToken(undefined)
  queries.setQueryData<SessionInfo>(KEY, (info) => {
    if (info?.me === undefined) return info
    const { me: _me, csrfToken: _token, ...rest } = info
    return rest
  })
}

export function useSessionQuery() {
  const queries = useQueryClient()
  useEffect(() => {
    onSessionEnd(() => markEnded(queries))
    return () => onSessionEnd(() => {})
  }, [queries])
  return useQuery({
    queryKey: KEY,
    queryFn: async ({ signal }) => {
      const info = await read<SessionInfo>('/session', undefined, signal)
      setCsrfToken(info.csrfToken)
      return info
    },
    staleTime: LOOK_MS,
    refetchInterval: LOOK_MS,
  })
}

export function SessionProvider(props: {
  readonly info: SessionInfo
  readonly children: ReactNode
}) {
  const { info, children } = props
  const queries = useQueryClient()
  const [last, setLast] = useState(info)
  if (info.me !== undefined && last !== info) setLast(info)
  const session = useMemo<Session>(() => {
    const shown = info.me === undefined ? { ...info, ...meOf(last) } : info
    const rights = new Set(shown.me?.rights)
    return {
      info: shown,
      hasEnded: info.me === undefined && shown.me !== undefined,
      may: (right) => rights.has(right),
      logIn: async (name, password) => {
        const body = { name, password }
        const { data } = await call<SessionInfo>('/session', { method: 'POST', body })
        setCsrfToken(data.csrfToken)
        queries.setQueryData(KEY, data)
        void queries.invalidateQueries({ predicate: ({ queryKey: [word] }) => word !== KEY[0] })
      },
      logOut: async () => {
        await call('/session', { method: 'DELETE' })
        // Nothing of theirs stays in the page.
        location.assign('/')
      },
      readAgain: () => queries.invalidateQueries(),
    }
  }, [info, last, queries])
  return <Context.Provider value={session}>{children}</Context.Provider>
}

function meOf({ me }: SessionInfo): Pick<SessionInfo, 'me'> {
  return me === undefined ? {} : { me }
}

export function useSession(): Session {
  const session = useContext(Context)
  if (session === undefined) throw new Error('useSession outside of SessionProvider')
  return session
}
