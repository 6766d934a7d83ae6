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
import type { ApprovalDetail, ApprovalList } from '../../../gateway/admin/api/approvals.ts'
import type { AuditList, AuditVerification } from '../../../gateway/admin/api/audit.ts'
import type {
  Cluster,
  ClusterHealth,
  ClusterList,
  ClusterTables,
} from '../../../gateway/admin/api/clusters.ts'
import type { GatewayDetail, GatewayList, Overview } from '../../../gateway/admin/api/gateways.ts'
import type { Group, GroupList } from '../../../gateway/admin/api/groups.ts'
import type {
  TableHistory,
  TableList,
  TableRoute,
  TableSnippet,
} from '../../../gateway/admin/api/tables.ts'
import type {
  TableClients,
  TableRates,
  TableRoutes,
} from '../../../gateway/admin/api/table-fleet.ts'
import type { TokenList, UserList } from '../../../gateway/admin/api/access.ts'
import { usePolling } from './events.ts'
import { type CallOptions, read } from './http.ts'

type Query = NonNullable<CallOptions['query']>

/** A page that looks at something asked of a cluster does not need it newer than this. */
const ASKED_MS = 10_000
const FIGURES_MS = 5000
const FIRST_RATES_MS = 3000

function useRead<T>(key: readonly unknown[], path: string, query: Query = {}): UseQueryResult<T> {
  const polling = usePolling()
  return useQuery<T>({
    queryKey: [...key, query],
    queryFn: ({ signal }) => read<T>(path, query, signal),
    refetchInterval: polling,
    // Of the same thing with another query; never of another table or cluster.
    placeholderData: (before, earlier) =>
      key.every((word, at) => earlier?.queryKey[at] === word) ? before : undefined,
  })
}

export const tablePath = (name: string): string => `/tables/${encodeURIComponent(name)}`
export const clusterPath = (name: string): string => `/clusters/${encodeURIComponent(name)}`
export const gatewayPath = (id: string): string => `/gateways/${encodeURIComponent(id)}`
export const groupPath = (name: string): string => `/groups/${encodeURIComponent(name)}`
export const userPath = (name: string): string => `/users/${encodeURIComponent(name)}`
export const tokenPath = (id: string): string => `/tokens/${encodeURIComponent(id)}`

/** While ZooKeeper is away nothing tells that it is back sooner than asking. */
const OUTAGE_MS = 2000

export function useOverview() {
  const polling = usePolling()
  return useQuery({
    queryKey: ['overview'],
    queryFn: ({ signal }) => read<Overview>('/overview', {}, signal),
    refetchInterval: ({ state: { data, status } }) =>
      status === 'error' || (data !== undefined && data.asOf.state !== 'live')
        ? OUTAGE_MS
        : polling,
  })
}

/** Figures of gateways move without an event, every five seconds at most. */
export function useGateways() {
  return useQuery({
    queryKey: ['gateways'],
    queryFn: ({ signal }) => read<GatewayList>('/gateways', {}, signal),
    refetchInterval: FIGURES_MS,
  })
}

/** The gateway is asked, through ZooKeeper. */
export function useGateway(id: string) {
  return useQuery({
    queryKey: ['gateway', id],
    queryFn: ({ signal }) => read<GatewayDetail>(gatewayPath(id), {}, signal),
    staleTime: ASKED_MS,
  })
}

export function useClusters() {
  return useRead<ClusterList>(['clusters'], '/clusters')
}

export function useCluster(name: string) {
  return useRead<Cluster>(['clusters', name], clusterPath(name))
}

export function useGroups() {
  return useRead<GroupList>(['groups'], '/groups')
}

export function useGroup(name: string) {
  return useRead<Group>(['groups', name], groupPath(name))
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
    // Comparing thousands of rows with their former selves costs more than showing those in sight.
    structuralSharing: false,
  })
}

export function useTableHistory(name: string) {
  return useRead<TableHistory>(['history', name], `${tablePath(name)}/history`)
}

export function useTableRoute(name: string) {
  return useRead<TableRoute>(['table', name, 'route'], `${tablePath(name)}/route`)
}

/** The gateways are asked, through ZooKeeper: not by events, but when somebody looks or wants it anew. */
export function useTableClients(name: string) {
  return useQuery({
    queryKey: ['clients', name],
    queryFn: ({ signal }) => read<TableClients>(`${tablePath(name)}/clients`, {}, signal),
    staleTime: ASKED_MS,
  })
}

/** The same, and only when somebody wants it. */
export function useTableRoutes(name: string) {
  return useQuery({
    queryKey: ['routes', name],
    queryFn: ({ signal }) => read<TableRoutes>(`${tablePath(name)}/routes`, {}, signal),
    enabled: false,
  })
}

/** The fleet is asked now and then, while the tab is in sight; soon again for the first rates. */
export function useTableRates(enabled: boolean) {
  return useQuery({
    queryKey: ['rates'],
    queryFn: ({ signal }) => read<TableRates>('/tables:rates', {}, signal),
    enabled,
    refetchInterval: ({ state: { data } }) =>
      data !== undefined && data.overSeconds === undefined ? FIRST_RATES_MS : ASKED_MS,
  })
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

export function useApprovals() {
  return useRead<ApprovalList>(['approvals'], '/approvals')
}

/** Its changes stay as they are; what became of them comes with another state. */
export function useApproval(id: string, state: string) {
  return useQuery({
    queryKey: ['approval', id, state],
    queryFn: ({ signal }) =>
      read<ApprovalDetail>(`/approvals/${encodeURIComponent(id)}`, {}, signal),
    placeholderData: keepPreviousData,
    staleTime: Infinity,
  })
}

export function useUsers() {
  return useRead<UserList>(['users'], '/users')
}

export function useTokens() {
  return useRead<TokenList>(['tokens'], '/tokens')
}

/** Every option of the gateway that answers, with where its value comes from; secrets masked. */
export interface ConfigOption {
  readonly path: string
  readonly value: unknown
  readonly source: string
  readonly reloadable: boolean
  readonly about: string
}

export function useConfig() {
  return useQuery({
    queryKey: ['config'],
    queryFn: async ({ signal }) => {
      const response = await fetch('/config', { signal })
      if (!response.ok) throw new Error(`${response.status} ${response.statusText}`)
      return (await response.json()) as { readonly options: readonly ConfigOption[] }
    },
    staleTime: Infinity,
  })
}
