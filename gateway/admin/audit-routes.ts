/** Routes of `/api/v1/audit` (`api/audit.ts`). */
import { Readable } from 'node:stream'
import {
  type AuditEntry,
  AuditExportQuery,
  AuditList,
  AuditQuery,
  AuditVerification,
} from './api/audit.ts'
import type { AuditFilter, AuditLog } from './audit-log.ts'
import { csvLine } from './csv.ts'
import { type Api, answers } from './requests.ts'

const columns = [
  'seq',
  'at',
  'actor',
  'source',
  'from',
  'action',
  'kind',
  'name',
  'reason',
  'before',
  'after',
  'requestId',
  'gateway',
  'prev',
  'hash',
  'versions',
  'approvedBy',
] as const satisfies readonly (keyof AuditEntry)[]

export function auditRoutes(api: Api, audit: AuditLog): void {
  api.get(
    '/audit',
    {
      schema: {
        tags: ['audit'],
        summary: 'Who changed what, newest first',
        querystring: AuditQuery,
        response: answers({ 200: AuditList }),
      },
    },
    (request) => audit.page(request.query),
  )

  api.get(
    '/audit/::export',
    {
      schema: {
        tags: ['audit'],
        summary: 'All entries that match, oldest first',
        querystring: AuditExportQuery,
        produces: ['application/jsonl', 'text/csv'],
      },
    },
    async (request, reply) => {
      const { format = 'jsonl', ...filter } = request.query
      const lines = format === 'csv' ? csv(audit, filter) : jsonLines(audit, filter)
      return reply
        .type(format === 'csv' ? 'text/csv; charset=utf-8' : 'application/jsonl')
        .header('content-disposition', `attachment; filename="metaproxy-audit.${format}"`)
        .send(Readable.from(lines))
    },
  )

  api.get(
    '/audit/::verify',
    {
      schema: {
        tags: ['audit'],
        summary: 'Check every entry and the chain',
        response: answers({ 200: AuditVerification }),
      },
    },
    () => audit.verify(),
  )
}

async function* jsonLines(audit: AuditLog, filter: AuditFilter): AsyncGenerator<string> {
  for await (const entry of audit.all(filter)) yield `${JSON.stringify(entry)}\n`
}

async function* csv(audit: AuditLog, filter: AuditFilter): AsyncGenerator<string> {
  yield csvLine(columns)
  for await (const entry of audit.all(filter)) yield csvLine(columns.map((key) => entry[key] ?? ''))
}
