/** Routes of `/api/v1/tables` for single tables (`api/tables.ts`). What they do is in `table-edits.ts`. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { ChangeHeaders, DryRunQuery, NameParams, NoQuery } from './api/requests.ts'
import { TableClients, TableRates, TableRoutes } from './api/table-fleet.ts'
import {
  ChangePreview,
  ProbeRequest,
  ProbeResult,
  RevertRequest,
  SparseTableList,
  Table,
  TableEdit,
  TableHistory,
  TablePatch,
  TableQuery,
  TableRoute,
  TableSnippet,
} from './api/tables.ts'
import { tableClients, tableRoutes as routesOf } from './fleet-views.ts'
import { type KeptAnswer, type Ticket } from './idempotency.ts'
import { ApiError } from './problem.ts'
import {
  type Answer,
  type Api,
  NoContent,
  answers,
  authorOf,
  callerOf,
  once,
  preconditionOf,
  send,
} from './requests.ts'
import { demand } from './rights.ts'
import type { Services } from './services.ts'
import { type TableWish, checkedName } from './table-edits.ts'
import { type TableView, viewOf } from './table-view.ts'

const LOAD_MS_MAX = 2000
const changed = answers({ 200: Type.Union([Table, ChangePreview]), 201: Table })

export function tableRoutes(api: Api, services: Services): void {
  const { lists, mirror, histories, views } = services

  api.get(
    '/tables',
    {
      schema: {
        tags: ['tables'],
        summary: 'List mappings',
        querystring: TableQuery,
        response: answers({ 200: SparseTableList }),
      },
    },
    async (request, reply) => {
      await services.within(LOAD_MS_MAX, mirror.loaded())
      const text = lists.page(request.query)
      return reply.type('application/json; charset=utf-8').send(Buffer.from(text))
    },
  )

  api.get(
    '/tables/::rates',
    {
      schema: {
        tags: ['tables'],
        summary: 'Queries per second of tables in the whole fleet; asks all gateways',
        querystring: NoQuery,
        response: answers({ 200: TableRates }),
      },
    },
    () => services.rates.current(),
  )

  api.get(
    '/tables/:name',
    {
      schema: {
        tags: ['tables'],
        summary: 'One mapping',
        params: NameParams,
        response: answers({ 200: Table }),
      },
    },
    async (request, reply) => {
      const { table } = await views.current(request.params.name)
      return reply.header('etag', table.etag).send(table)
    },
  )

  const change = (
    request: FastifyRequest<{
      Params: { name: string }
      Querystring: { dry_run?: boolean }
    }>,
    reply: FastifyReply,
    wish: TableWish,
  ): Promise<FastifyReply> => changeTable(services, request, reply, wish)

  api.put(
    '/tables/:name',
    {
      schema: {
        tags: ['tables'],
        summary: 'Create or replace a mapping',
        params: NameParams,
        querystring: DryRunQuery,
        headers: ChangeHeaders,
        body: TableEdit,
        response: changed,
      },
    },
    (request, reply) => change(request, reply, { kind: 'put', edit: request.body }),
  )

  api.patch(
    '/tables/:name',
    {
      schema: {
        tags: ['tables'],
        summary: 'Change parts of a mapping',
        params: NameParams,
        querystring: DryRunQuery,
        headers: ChangeHeaders,
        body: TablePatch,
        response: changed,
      },
    },
    (request, reply) => change(request, reply, { kind: 'patch', patch: request.body }),
  )

  api.delete(
    '/tables/:name',
    {
      schema: {
        tags: ['tables'],
        summary: 'Delete a mapping',
        params: NameParams,
        querystring: DryRunQuery,
        headers: ChangeHeaders,
        response: answers({ 200: ChangePreview, 204: NoContent }),
      },
    },
    (request, reply) => change(request, reply, { kind: 'delete' }),
  )

  api.post(
    '/tables/:name/::revert',
    {
      schema: {
        tags: ['tables'],
        summary: 'Go back to a version of the history',
        params: NameParams,
        querystring: DryRunQuery,
        headers: ChangeHeaders,
        body: RevertRequest,
        response: answers({ 200: Type.Union([Table, ChangePreview]), 201: Table, 204: NoContent }),
      },
    },
    (request, reply) => {
      const { to, side = 'after' } = request.body
      return change(request, reply, { kind: 'revert', to, side })
    },
  )

  api.get(
    '/tables/:name/history',
    {
      schema: {
        tags: ['tables'],
        summary: 'Versions of a mapping, newest first',
        params: NameParams,
        response: answers({ 200: TableHistory }),
      },
    },
    async (request) => {
      const name = checkedName(request.params.name)
      const entries = await histories.entries(name)
      if (entries.length === 0) await views.current(name)
      return { entries, kept: histories.versionsMax }
    },
  )

  api.post(
    '/tables/:name/::probe',
    {
      schema: {
        tags: ['tables'],
        summary: 'Ask the meta servers now',
        params: NameParams,
        body: ProbeRequest,
        response: answers({ 200: ProbeResult }),
      },
    },
    async (request) => {
      demand(callerOf(request), 'read')
      const name = checkedName(request.params.name)
      const metas = request.body.metas ?? (await views.current(name)).mapping?.metas
      if (metas === undefined)
        throw new ApiError('bad-request', `${name} holds no mapping: give metas`)
      return services.probes.table(name, metas)
    },
  )

  api.get(
    '/tables/:name/route',
    {
      schema: {
        tags: ['tables'],
        summary: 'What ZooKeeper holds and how far gateways are',
        params: NameParams,
        response: answers({ 200: TableRoute }),
      },
    },
    async (request) => {
      const { name, node } = await views.current(request.params.name)
      const { gateways, fleetEpoch } = await services.fleet.list()
      const serves = await services.lookup(name)
      return {
        zookeeper: {
          path: `${services.root}/${name}`,
          raw: node.text,
          zxid: String(node.stat.modifiedZxid),
          version: node.stat.version,
          createdAt: new Date(node.stat.createdWallMs).toISOString(),
          modifiedAt: new Date(node.stat.modifiedWallMs).toISOString(),
        },
        asOf: mirror.freshness(),
        fleetEpoch,
        gateways: gateways.map(({ id, self, appliedEpoch, behind }) => ({
          id,
          self,
          appliedEpoch,
          behind,
          ...(self && serves !== undefined ? { serves } : {}),
        })),
      }
    },
  )

  api.get(
    '/tables/:name/routes',
    {
      schema: {
        tags: ['tables'],
        summary: 'What every gateway serves now; asks all of them',
        params: NameParams,
        response: answers({ 200: TableRoutes }),
      },
    },
    async (request) => {
      const table = checkedName(request.params.name)
      const found = await services.asker.ask({ kind: 'route', table })
      const view = await views.find(table)
      return routesOf(found, view, await services.fleet.list())
    },
  )

  api.get(
    '/tables/:name/clients',
    {
      schema: {
        tags: ['tables'],
        summary: 'Client addresses that asked any gateway for it in the last 24 hours',
        params: NameParams,
        response: answers({ 200: TableClients }),
      },
    },
    async (request) => {
      const table = checkedName(request.params.name)
      return tableClients(await services.asker.ask({ kind: 'clients', table }), services.gatewayId)
    },
  )

  api.get(
    '/tables/:name/snippet',
    {
      schema: {
        tags: ['tables'],
        summary: 'How clients are configured for it',
        params: NameParams,
        response: answers({ 200: TableSnippet }),
      },
    },
    async (request) =>
      services.snippets(checkedName(request.params.name), request.headers.host ?? ''),
  )
}

async function changeTable(
  services: Services,
  request: FastifyRequest<{ Params: { name: string }; Querystring: { dry_run?: boolean } }>,
  reply: FastifyReply,
  wish: TableWish,
): Promise<FastifyReply> {
  const { edits, requests } = services
  const caller = callerOf(request)
  const name = checkedName(request.params.name)
  const wanted = { name, wish, precondition: preconditionOf(request) }
  if (request.query.dry_run === true) {
    const decided = await edits.decide(caller, wanted)
    return send(reply, { status: 200, body: await services.previewOf(decided) })
  }
  const author = authorOf(request, services.reasonRequired)
  const act = async (ticket: Ticket | undefined): Promise<Answer & { isRecorded: boolean }> => {
    let isNew = false
    const [view] = await edits.apply(caller, author, [wanted], ([decided]) => {
      if (decided === undefined) return []
      isNew = decided.before === undefined
      if (ticket === undefined) return []
      const { text, before } = decided
      const version = before === undefined ? 0 : before.node.stat.version + 1
      const table = text === null ? undefined : { name, text, version }
      return [ticket.completion(text === null ? 204 : isNew ? 201 : 200, table)]
    })
    return { ...answerOf(view, isNew), isRecorded: true }
  }
  const replay = (kept: KeptAnswer): Answer =>
    kept.node === undefined
      ? { status: kept.status }
      : answerOf(viewOf(kept.node, services.mirror.context), kept.status === 201)
  return send(reply, await once(requests, request, replay, act))
}

function answerOf(view: TableView | undefined, isNew: boolean): Answer {
  return view === undefined
    ? { status: 204 }
    : { status: isNew ? 201 : 200, headers: { etag: view.table.etag }, body: view.table }
}
