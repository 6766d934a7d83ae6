/** Who is logged in and what they may do; the page below it is shown to them alone. */
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { createContext, type ReactNode, useContext, useMemo } from 'react'
import type { SessionInfo } from '../../../gateway/admin/api/access.ts'
import type { Right } from '../../../gateway/admin/api/roles.ts'
import { call, read, setCsrfToken } from './http.ts'

export interface Session {
  readonly info: SessionInfo
  /** Whether some grant gives the right, whatever its scope; the API judges the rest. */
  readonly may: (right: Right) => boolean
  readonly logIn: (name: string, password: string) => Promise<void>
  readonly logOut: () => Promise<void>
}

const Context = createContext<Session | undefined>(undefined)
const KEY = ['session'] as const

export function useSessionQuery() {
  return useQuery({
    queryKey: KEY,
    queryFn: async ({ signal }) => {
      const info = await read<SessionInfo>('/session', undefined, signal)
      setCsrfToken(info.csrfToken)
      return info
    },
    staleTime: 60_000,
  })
}

export function SessionProvider(props: {
  readonly info: SessionInfo
  readonly children: ReactNode
}) {
  const { info, children } = props
  const queries = useQueryClient()
  const session = useMemo<Session>(() => {
    const rights = new Set(info.me?.rights)
    const take = (next: SessionInfo): void => {
      setCsrfToken(next.csrfToken)
      queries.setQueryData(KEY, next)
    }
    return {
      info,
      may: (right) => rights.has(right),
      logIn: async (name, password) => {
        const body = { name, password }
        take((await call<SessionInfo>('/session', { method: 'POST', body })).data)
      },
      logOut: async () => {
        await call('/session', { method: 'DELETE' })
        queries.clear()
        await queries.invalidateQueries({ queryKey: KEY })
      },
    }
  }, [info, queries])
  return <Context.Provider value={session}>{children}</Context.Provider>
}

export function useSession(): Session {
  const session = useContext(Context)
  if (session === undefined) throw new Error('useSession outside of SessionProvider')
  return session
}
