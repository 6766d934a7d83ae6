/** Routes of clusters, groups, gateways and the overview (`api/clusters.ts`, `groups.ts`, `gateways.ts`). */
import { Type } from 'typebox'
import { Cluster, ClusterEdit, ClusterHealth, ClusterList, ClusterTables } from './api/clusters.ts'
import { GatewayList, Overview } from './api/gateways.ts'
import { Group, GroupEdit, GroupList } from './api/groups.ts'
import { ChangeHeaders, DryRunQuery, NameParams } from './api/requests.ts'
import { ApiError } from './problem.ts'
import { reconcile } from './reconcile.ts'
import {
  type Answer,
  type Api,
  NoContent,
  answers,
  authorOf,
  callerOf,
  once,
  preconditionOf,
  sameAgain,
  send,
} from './requests.ts'
import type { Services } from './services.ts'

export function clusterRoutes(api: Api, services: Services): void {
  const { clusters, requests, probes, reasonRequired } = services
  const metasOf = (name: string): readonly string[] => {
    const { metas } = clusters.get(name)
    if (metas.length === 0) throw new ApiError('not-found', `no metas are known of cluster ${name}`)
    return metas
  }

  api.get(
    '/clusters',
    { schema: { tags: ['clusters'], response: answers({ 200: ClusterList }) } },
    async () => clusters.list(),
  )

  api.get(
    '/clusters/:name',
    { schema: { tags: ['clusters'], params: NameParams, response: answers({ 200: Cluster }) } },
    async (request, reply) => {
      const cluster = clusters.get(request.params.name)
      if (cluster.etag !== undefined) void reply.header('etag', cluster.etag)
      return reply.send(cluster)
    },
  )

  api.put(
    '/clusters/:name',
    {
      schema: {
        tags: ['clusters'],
        summary: 'Register a cluster, or change its entry',
        params: NameParams,
        querystring: DryRunQuery,
        headers: ChangeHeaders,
        body: ClusterEdit,
        response: answers({ 200: Cluster }),
      },
    },
    async (request, reply) => {
      const isDryRun = request.query.dry_run === true
      const act = async (): Promise<Answer> => {
        const cluster = await clusters.put(
          callerOf(request),
          authorOf(request, reasonRequired && !isDryRun),
          request.params.name,
          request.body,
          preconditionOf(request),
          isDryRun,
        )
        return { status: 200, headers: etag(cluster.etag), body: cluster }
      }
      return send(reply, isDryRun ? await act() : await once(requests, request, sameAgain, act))
    },
  )

  api.delete(
    '/clusters/:name',
    {
      schema: {
        tags: ['clusters'],
        params: NameParams,
        querystring: DryRunQuery,
        headers: ChangeHeaders,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const isDryRun = request.query.dry_run === true
      const act = async (): Promise<Answer> => {
        await clusters.remove(
          callerOf(request),
          authorOf(request, reasonRequired && !isDryRun),
          request.params.name,
          preconditionOf(request),
          isDryRun,
        )
        return { status: 204 }
      }
      return send(reply, isDryRun ? await act() : await once(requests, request, sameAgain, act))
    },
  )

  api.get(
    '/clusters/:name/health',
    {
      schema: { tags: ['clusters'], params: NameParams, response: answers({ 200: ClusterHealth }) },
    },
    (request) => probes.health(request.params.name, metasOf(request.params.name)),
  )

  api.get(
    '/clusters/:name/tables',
    {
      schema: {
        tags: ['clusters'],
        summary: 'What the cluster has against what is mapped to it',
        params: NameParams,
        response: answers({ 200: ClusterTables }),
      },
    },
    async (request) => {
      const { name } = request.params
      const metas = metasOf(name)
      const askedAt = new Date(services.runtime.clock.wallMs()).toISOString()
      const hosted = await probes.tables(name, metas)
      services.sawTablesOf(
        name,
        hosted.map((table) => table.name),
      )
      const tables = reconcile({
        cluster: name,
        metas,
        hosted,
        mappingOf: (table) => services.mirror.get(table),
        mapped: services.lists.select({ cluster: name }),
      })
      const counts: Record<string, number> = {}
      for (const { state } of tables) counts[state] = (counts[state] ?? 0) + 1
      return { askedAt, counts, tables }
    },
  )
}

export function groupRoutes(api: Api, services: Services): void {
  const { groups, requests, reasonRequired } = services

  api.get(
    '/groups',
    { schema: { tags: ['groups'], response: answers({ 200: GroupList }) } },
    async () => groups.list(),
  )

  api.get(
    '/groups/:name',
    { schema: { tags: ['groups'], params: NameParams, response: answers({ 200: Group }) } },
    async (request, reply) => {
      const group = groups.get(request.params.name)
      if (group.etag !== undefined) void reply.header('etag', group.etag)
      return reply.send(group)
    },
  )

  api.put(
    '/groups/:name',
    {
      schema: {
        tags: ['groups'],
        params: NameParams,
        querystring: DryRunQuery,
        headers: ChangeHeaders,
        body: GroupEdit,
        response: answers({ 200: Group }),
      },
    },
    async (request, reply) => {
      const isDryRun = request.query.dry_run === true
      const act = async (): Promise<Answer> => {
        const group = await groups.put(
          callerOf(request),
          authorOf(request, reasonRequired && !isDryRun),
          request.params.name,
          request.body,
          preconditionOf(request),
          isDryRun,
        )
        return { status: 200, headers: etag(group.etag), body: group }
      }
      return send(reply, isDryRun ? await act() : await once(requests, request, sameAgain, act))
    },
  )

  api.delete(
    '/groups/:name',
    {
      schema: {
        tags: ['groups'],
        params: NameParams,
        querystring: DryRunQuery,
        headers: ChangeHeaders,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const isDryRun = request.query.dry_run === true
      const act = async (): Promise<Answer> => {
        await groups.remove(
          callerOf(request),
          authorOf(request, reasonRequired && !isDryRun),
          request.params.name,
          preconditionOf(request),
          isDryRun,
        )
        return { status: 204 }
      }
      return send(reply, isDryRun ? await act() : await once(requests, request, sameAgain, act))
    },
  )
}

export function fleetRoutes(api: Api, services: Services): void {
  api.get(
    '/gateways',
    { schema: { tags: ['gateways'], response: answers({ 200: GatewayList }) } },
    () => services.fleet.list(),
  )

  api.get(
    '/overview',
    {
      schema: {
        tags: ['gateways'],
        summary: 'Counts for the first page',
        querystring: Type.Object({}, { additionalProperties: false }),
        response: answers({ 200: Overview }),
      },
    },
    () => services.overview(),
  )
}

function etag(tag: string | undefined): Readonly<Record<string, string>> {
  return tag === undefined ? {} : { etag: tag }
}
