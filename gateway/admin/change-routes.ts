/** Routes for many mappings at once (`api/changes.ts`): batch, previews and their apply, export. */
import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { AdoptRequest, ReplaceMetaRequest } from './api/clusters.ts'
import {
  ApplyRequest,
  ApplyResult,
  BatchRequest,
  BatchResult,
  BulkEditRequest,
  ChangeSet,
  ExportQuery,
  ImportRequest,
} from './api/changes.ts'
import { ChangeHeaders, DryRunQuery, NameParams } from './api/requests.ts'
import { Approval } from './api/approvals.ts'
import type { AskedChange } from './approvals.ts'
import { BulkChanges, checkAtomic, requestOf, requestsOf } from './bulk-changes.ts'
import { metasOf } from './clusters.ts'
import { csvFile, jsonFile } from './export-file.ts'
import { readImport } from './import-file.ts'
import type { Author } from './journal.ts'
import { jsonPieces } from './json-pieces.ts'
import { takeLargeBodies } from './large-body.ts'
import { badField } from './problem.ts'
import {
  type Answer,
  type Api,
  answers,
  authorOf,
  callerOf,
  once,
  sameAgain,
  send,
} from './requests.ts'
import { type Caller, demand } from './rights.ts'
import type { Services } from './services.ts'
import type { TableChangeRequest } from './table-edits.ts'
import { WantedChanges, checkedAddress, replaced } from './wanted-changes.ts'

/** Lists of thousands of names, and a file of 4 MiB whose quotes and line ends JSON escapes. */
const BODY_BYTES_MAX = 6 * 1024 * 1024
const RESULTS_KEPT_MAX = 1000

/** In a scope of its own, for the size of its bodies. */
export function changeRoutes(api: Api, services: Services): void {
  const { runtime, edits, requests, reasonRequired, changeSets, approvals, clusters } = services
  const pause = (): Promise<void> =>
    new Promise((resolve) => {
      runtime.timers.soon(resolve)
    })
  takeLargeBodies(api, BODY_BYTES_MAX, pause)
  const sendSet = (reply: FastifyReply, { items, ...facts }: ChangeSet): FastifyReply => {
    const { create, change, delete: gone } = facts.counts
    const needsApproval = approvals.isNeeded(create + change + gone)
    const head = { ...facts, ...(needsApproval ? { needsApproval } : {}) }
    return send(reply, { status: 200, pieces: jsonPieces(head, 'items', items, pause) })
  }
  /** A short one is kept for a repeated idempotency key. */
  const answerWith = (result: BatchResult): Answer => {
    const { results, ...facts } = result
    if (results.length <= RESULTS_KEPT_MAX) return { status: 200, body: result }
    return { status: 200, pieces: jsonPieces(facts, 'results', results, pause) }
  }
  /** Nothing changes before somebody else approves it. */
  const ask = async (
    caller: Caller,
    author: Author,
    changes: readonly TableChangeRequest[],
    what: Omit<AskedChange, 'items'>,
  ): Promise<Answer> => {
    const planned = await bulk.plan(caller, changes, what.atomic)
    if ('results' in planned) return answerWith(planned)
    const approval = await approvals.ask(caller, author, { ...what, items: planned })
    const location = `/api/v1/approvals/${approval.id}`
    return { status: 202, headers: { location }, body: approval }
  }
  const wanted = new WantedChanges(services, pause)
  const bulk = new BulkChanges(edits, services.events)

  api.post(
    '/tables/::batch',
    {
      schema: {
        tags: ['tables'],
        summary: 'Many changes at once, atomic or item by item',
        querystring: DryRunQuery,
        headers: ChangeHeaders,
        body: BatchRequest,
        response: answers({ 200: BatchResult, 202: Approval }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { atomic, changes } = request.body
      const needsApproval = approvals.isNeeded(changes.length)
      if (request.query.dry_run === true) {
        const result = await bulk.dryRun(caller, changes)
        return send(reply, answerWith({ ...result, ...(needsApproval ? { needsApproval } : {}) }))
      }
      const author = authorOf(request, reasonRequired)
      const act = async (): Promise<Answer> => {
        if (!needsApproval) return answerWith(await bulk.batch(caller, author, changes, atomic))
        if (atomic) checkAtomic(changes.length)
        return ask(caller, author, changes.map(requestOf), { origin: 'batch', atomic })
      }
      return send(reply, await once(requests, request, sameAgain, act))
    },
  )

  api.post(
    '/tables/::import',
    {
      schema: {
        tags: ['tables'],
        summary: 'What importing a file would change',
        body: ImportRequest,
        response: answers({ 200: ChangeSet }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      demand(caller, 'read')
      await services.mirror.loaded()
      const { format, text, mode = 'merge' } = request.body
      const lines = await readImport(format, text, pause)
      const changes = wanted.import(caller, lines, mode)
      return sendSet(reply, await changeSets.make('import', caller.name, changes))
    },
  )

  api.post(
    '/tables/::preview',
    {
      schema: {
        tags: ['tables'],
        summary: 'What one edit of many tables would change',
        body: BulkEditRequest,
        response: answers({ 200: ChangeSet }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      await services.mirror.loaded()
      const changes = wanted.bulkEdit(caller, request.body)
      return sendSet(reply, await changeSets.make('bulk-edit', caller.name, changes))
    },
  )

  api.post(
    '/tables/::apply',
    {
      schema: {
        tags: ['tables'],
        summary: 'Carry out a preview',
        headers: ChangeHeaders,
        body: ApplyRequest,
        response: answers({ 200: ApplyResult, 202: Approval }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const author = authorOf(request, reasonRequired)
      const { token, include } = request.body
      const act = async (): Promise<Answer> => {
        const set = await changeSets.take(token, caller.name)
        const { origin, registry } = set
        const only = include === undefined ? undefined : new Set(include)
        const items = set.items.filter(({ name }) => only?.has(name) ?? true)
        if (approvals.isNeeded(items.length))
          return ask(caller, author, requestsOf({ origin, items }), {
            origin,
            atomic: false,
            registry,
          })
        if (registry !== undefined) await clusters.replaceMetas(caller, author, registry)
        return answerWith(await bulk.apply(caller, author, { ...set, items }, token))
      }
      return send(reply, await once(requests, request, sameAgain, act))
    },
  )

  api.get(
    '/tables/::export',
    {
      schema: {
        tags: ['tables'],
        summary: 'Mappings as a file',
        querystring: ExportQuery,
        produces: ['application/json', 'text/csv'],
      },
    },
    async (request, reply) => {
      const { format = 'json', names, ...filter } = request.query
      await services.mirror.loaded()
      const only = names === undefined ? undefined : new Set(names.split(','))
      const views =
        only === undefined
          ? services.lists.select(filter)
          : services.lists.select({}).filter(({ name }) => only.has(name))
      const at = new Date(runtime.clock.wallMs()).toISOString()
      const lines = format === 'csv' ? csvFile(views) : jsonFile(views, services.root, at)
      return reply
        .type(format === 'csv' ? 'text/csv; charset=utf-8' : 'application/json; charset=utf-8')
        .header('content-disposition', `attachment; filename="metaproxy-tables.${format}"`)
        .send(Readable.from(lines))
    },
  )

  api.post(
    '/clusters/:name/::adopt',
    {
      schema: {
        tags: ['clusters'],
        summary: 'Mappings for the tables of a cluster that have none, as a preview',
        params: NameParams,
        body: AdoptRequest,
        response: answers({ 200: ChangeSet }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { name } = request.params
      const { metas } = services.clusters.get(name)
      const hosted = await services.probes.tables(name, metas)
      const unmapped = hosted.map((table) => table.name).filter((t) => !services.mirror.get(t))
      const chosen = request.body.tables ?? unmapped
      const missing = chosen.find((table) => !hosted.some((one) => one.name === table))
      if (missing !== undefined) throw badField('tables', `cluster ${name} has no table ${missing}`)
      const changes = wanted.adopt(caller, name, metas, chosen)
      return sendSet(reply, await changeSets.make('adopt', caller.name, changes))
    },
  )

  api.post(
    '/clusters/:name/::replace-meta',
    {
      schema: {
        tags: ['clusters'],
        summary: 'One meta server for another in the registry and all mappings, as a preview',
        params: NameParams,
        body: ReplaceMetaRequest,
        response: answers({ 200: ChangeSet }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { name } = request.params
      const from = checkedAddress('from', request.body.from)
      const to = checkedAddress('to', request.body.to)
      const entry = services.clusterRegistry.get(name)
      const registered = metasOf(entry)
      services.clusters.get(name)
      const isRegistered = entry !== undefined && registered.includes(from)
      if (isRegistered) demand(caller, 'clusters.edit', { cluster: name })
      const registry = isRegistered
        ? { cluster: name, etag: entry.etag, metas: replaced(registered, from, to) }
        : undefined
      const changes = wanted.replaceMeta(caller, name, from, to)
      return sendSet(reply, await changeSets.make('replace-meta', caller.name, changes, registry))
    },
  )
}
