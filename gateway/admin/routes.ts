/** The routes of the mapping API (gateway.md 14). What they do is in `tables.ts`. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Table, TableEdit, TableList, TableParams, TableQuery } from './api.ts'
import type { TableNodes } from './tables.ts'

type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

export function tableRoutes(api: Api, nodes: TableNodes): void {
  api.get(
    '/api/v1/tables',
    { schema: { querystring: TableQuery, response: { 200: TableList } } },
    (request) => nodes.list(request.query),
  )

  api.get(
    '/api/v1/tables/:name',
    { schema: { params: TableParams, response: { 200: Table } } },
    async (request, reply) => {
      const { table, etag } = await nodes.get(request.params.name)
      return reply.header('etag', etag).send(table)
    },
  )

  api.put(
    '/api/v1/tables/:name',
    { schema: { params: TableParams, body: TableEdit, response: { 200: Table, 201: Table } } },
    async (request, reply) => {
      const precondition = {
        ifMatch: request.headers['if-match'],
        ifNoneMatch: request.headers['if-none-match'],
      }
      const { found, isNew } = await nodes.put(request.params.name, request.body, precondition)
      return reply
        .code(isNew ? 201 : 200)
        .header('etag', found.etag)
        .send(found.table)
    },
  )

  api.delete(
    '/api/v1/tables/:name',
    { schema: { params: TableParams } },
    async (request, reply) => {
      await nodes.remove(request.params.name, request.headers['if-match'])
      return reply.code(204).send()
    },
  )
}
