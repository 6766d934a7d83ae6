/** Routes of clusters and groups (`api/clusters.ts`, `groups.ts`). */
import type { Static, TSchema } from 'typebox'
import { Cluster, ClusterEdit, ClusterHealth, ClusterList, ClusterTables } from './api/clusters.ts'
import { Group, GroupEdit, GroupList } from './api/groups.ts'
import { ChangeHeaders, DryRunQuery, NameParams } from './api/requests.ts'
import type { Author } from './journal.ts'
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
import type { Caller } from './rights.ts'
import type { Services } from './services.ts'
import type { Precondition } from './table-edits.ts'

export function clusterRoutes(api: Api, services: Services): void {
  const { clusters, probes } = services
  const metasOf = (name: string): readonly string[] => {
    const { metas } = clusters.get(name)
    if (metas.length === 0) throw new ApiError('not-found', `no metas are known of cluster ${name}`)
    return metas
  }

  entryRoutes(api, services, {
    path: '/clusters',
    summary: 'Register a cluster, or change its entry',
    list: ClusterList,
    entry: Cluster,
    edit: ClusterEdit,
    entries: clusters,
  })

  api.get(
    '/clusters/:name/health',
    {
      schema: { tags: ['clusters'], params: NameParams, response: answers({ 200: ClusterHealth }) },
    },
    async (request) => {
      const { name } = request.params
      const health = await probes.health(name, metasOf(name))
      const probe = services.probed(name)
      return { ...health, ...(probe === undefined ? {} : { probe }) }
    },
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
      services.contexts.sawTablesOf(
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
  entryRoutes(api, services, {
    path: '/groups',
    summary: 'Make a group, or change it',
    list: GroupList,
    entry: Group,
    edit: GroupEdit,
    entries: services.groups,
  })
}

/** Named entries of the control tree: what `clusters.ts` and `groups.ts` have in common. */
interface Entries<Entry, Edit, List> {
  list(): List
  get(name: string): Entry
  put(
    caller: Caller,
    author: Author,
    name: string,
    edit: Edit,
    precondition: Precondition,
    isDryRun: boolean,
  ): Promise<Entry>
  remove(
    caller: Caller,
    author: Author,
    name: string,
    precondition: Precondition,
    isDryRun: boolean,
  ): Promise<void>
}

/** List, read, write under a version, and remove. */
function entryRoutes<List extends TSchema, Edit extends TSchema>(
  api: Api,
  services: Services,
  resource: {
    readonly path: '/clusters' | '/groups'
    readonly summary: string
    readonly list: List
    readonly entry: TSchema
    readonly edit: Edit
    readonly entries: Entries<{ readonly etag?: string }, Static<Edit>, Static<List>>
  },
): void {
  const { path, summary, entries } = resource
  const { requests, reasonRequired } = services
  const tags = [path.slice(1)]
  const change = { params: NameParams, querystring: DryRunQuery, headers: ChangeHeaders }
  const found = (entry: { readonly etag?: string }): Answer => ({
    status: 200,
    headers: entry.etag === undefined ? {} : { etag: entry.etag },
    body: entry,
  })

  api.get(
    path,
    { schema: { tags, response: answers({ 200: resource.list }) } },
    async (_request, reply) => send(reply, { status: 200, body: entries.list() }),
  )

  api.get(
    `${path}/:name`,
    { schema: { tags, params: NameParams, response: answers({ 200: resource.entry }) } },
    async (request, reply) => send(reply, found(entries.get(request.params.name))),
  )

  api.put(
    `${path}/:name`,
    {
      schema: {
        tags,
        summary,
        ...change,
        body: resource.edit,
        response: answers({ 200: resource.entry }),
      },
    },
    async (request, reply) => {
      const isDryRun = request.query.dry_run === true
      const author = authorOf(request, reasonRequired && !isDryRun)
      const { name } = request.params
      // The schema has judged it.
      const edit = request.body as Static<Edit>
      const act = async (): Promise<Answer> =>
        found(
          await entries.put(
            callerOf(request),
            author,
            name,
            edit,
            preconditionOf(request),
            isDryRun,
          ),
        )
      return send(reply, isDryRun ? await act() : await once(requests, request, sameAgain, act))
    },
  )

  api.delete(
    `${path}/:name`,
    { schema: { tags, ...change, response: answers({ 204: NoContent }) } },
    async (request, reply) => {
      const isDryRun = request.query.dry_run === true
      const author = authorOf(request, reasonRequired && !isDryRun)
      const { name } = request.params
      const act = async (): Promise<Answer> => {
        await entries.remove(callerOf(request), author, name, preconditionOf(request), isDryRun)
        return { status: 204 }
      }
      return send(reply, isDryRun ? await act() : await once(requests, request, sameAgain, act))
    },
  )
}
