/**
 * What the screens read: one hook per resource of the API. Keys begin with the resource's word, by
 * which events make them stale (`events.ts`); while no events arrive, they poll.
 */
import {
  keepPreviousData,
  useInfiniteQuery,
  useQuery,
  type UseQueryResult,
} from '@tanstack/react-query'
import type { AuditList, AuditVerification } from '../../../gateway/admin/api/audit.ts'
import type {
  ClusterHealth,
  ClusterList,
  ClusterTables,
} from '../../../gateway/admin/api/clusters.ts'
import type { GatewayList, Overview } from '../../../gateway/admin/api/gateways.ts'
import type { GroupList } from '../../../gateway/admin/api/groups.ts'
import type {
  TableClients,
  TableHistory,
  TableList,
  TableRoute,
  TableSnippet,
} from '../../../gateway/admin/api/tables.ts'
import type { TokenList, UserList } from '../../../gateway/admin/api/access.ts'
import { usePolling } from './events.ts'
import { type CallOptions, read } from './http.ts'

type Query = NonNullable<CallOptions['query']>

/** A page that looks at something asked of a cluster does not need it newer than this. */
const ASKED_MS = 10_000

function useRead<T>(key: readonly unknown[], path: string, query: Query = {}): UseQueryResult<T> {
  const polling = usePolling()
  return useQuery<T>({
    queryKey: [...key, query],
    queryFn: ({ signal }) => read<T>(path, query, signal),
    refetchInterval: polling,
    placeholderData: keepPreviousData,
  })
}

export const tablePath = (name: string): string => `/tables/${encodeURIComponent(name)}`
export const clusterPath = (name: string): string => `/clusters/${encodeURIComponent(name)}`
export const groupPath = (name: string): string => `/groups/${encodeURIComponent(name)}`

export function useOverview() {
  return useRead<Overview>(['overview'], '/overview')
}

export function useGateways() {
  return useRead<GatewayList>(['gateways'], '/gateways')
}

export function useClusters() {
  return useRead<ClusterList>(['clusters'], '/clusters')
}

export function useGroups() {
  return useRead<GroupList>(['groups'], '/groups')
}

/** Page after page; `query` has filters, sort and the size of a page. */
export function useTables(query: Query) {
  const polling = usePolling()
  return useInfiniteQuery({
    queryKey: ['tables', query],
    queryFn: ({ signal, pageParam }) =>
      read<TableList>('/tables', { ...query, cursor: pageParam }, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: ({ cursor }) => cursor,
    placeholderData: keepPreviousData,
    refetchInterval: polling,
  })
}

export function useTableHistory(name: string) {
  return useRead<TableHistory>(['history', name], `${tablePath(name)}/history`)
}

export function useTableRoute(name: string) {
  return useRead<TableRoute>(['table', name, 'route'], `${tablePath(name)}/route`)
}

export function useTableClients(name: string) {
  return useRead<TableClients>(['table', name, 'clients'], `${tablePath(name)}/clients`)
}

export function useTableSnippet(name: string) {
  return useRead<TableSnippet>(['table', name, 'snippet'], `${tablePath(name)}/snippet`)
}

/** Asked of the cluster's servers: not by events, but again every few seconds. */
export function useClusterHealth(name: string) {
  return useQuery({
    queryKey: ['cluster', name, 'health'],
    queryFn: ({ signal }) => read<ClusterHealth>(`${clusterPath(name)}/health`, {}, signal),
    refetchInterval: ASKED_MS,
  })
}

export function useClusterTables(name: string) {
  return useQuery({
    queryKey: ['cluster', name, 'tables'],
    queryFn: ({ signal }) => read<ClusterTables>(`${clusterPath(name)}/tables`, {}, signal),
    staleTime: ASKED_MS,
  })
}

export function useAudit(query: Query) {
  const polling = usePolling()
  return useInfiniteQuery({
    queryKey: ['audit', query],
    queryFn: ({ signal, pageParam }) =>
      read<AuditList>('/audit', { ...query, cursor: pageParam }, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: ({ cursor }) => cursor,
    placeholderData: keepPreviousData,
    refetchInterval: polling,
  })
}

export function useAuditVerification(enabled: boolean) {
  return useQuery({
    queryKey: ['audit-verification'],
    queryFn: ({ signal }) => read<AuditVerification>('/audit:verify', {}, signal),
    enabled,
    staleTime: Infinity,
  })
}

export function useUsers() {
  return useRead<UserList>(['users'], '/users')
}

export function useTokens() {
  return useRead<TokenList>(['tokens'], '/tokens')
}
