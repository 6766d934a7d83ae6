/**
 * The admin port of a gateway: health, metrics, the admin API and its page on fastify (gateway.md 12 to
 * 14). Without authentication configured, the API answers callers on this machine only, and only under
 * a local host name (so that no web page can reach it by a name of its own); health and metrics answer
 * everybody who reaches the port.
 */
import swagger from '@fastify/swagger'
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { EffectiveOption } from '../../cluster/runtime/config.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import { systemError } from '../../cluster/runtime/system-error.ts'
import type { GatewayConfig } from '../config.ts'
import type { HealthPages } from '../health.ts'
import type { TableView } from '../table-view.ts'
import { AclPage, AclQuery, AclReport } from './acl-report.ts'
import { auditRoutes } from './audit-routes.ts'
import { changeRoutes } from './change-routes.ts'
import { EventStreams, eventRoutes } from './event-routes.ts'
import { openApi, plainPath } from './open-api.ts'
import { ApiError, sendProblem } from './problem.ts'
import { clusterRoutes, fleetRoutes, groupRoutes } from './registry-routes.ts'
import { type Api, answers, setCaller } from './requests.ts'
import type { Caller } from './rights.ts'
import { type RouteServed, Services } from './services.ts'
import { tableRoutes } from './table-routes.ts'

export interface AdminServer {
  /** `host:port`, with the real port. */
  readonly address: string
  readonly services: Services
  /** The id under which this gateway is in the fleet, as soon as there is one. */
  readonly identify: (id: string) => void
  readonly close: () => Promise<void>
}

export interface AdminParts {
  readonly config: Pick<GatewayConfig, 'rpc' | 'http' | 'zookeeper' | 'routing' | 'admin'>
  readonly runtime: Runtime
  /** The caller's; not closed here. */
  readonly coordinator: Coordinator
  /** Health and metrics, which answer everybody who reaches the port. */
  readonly pages: HealthPages
  /** For `GET /config`. */
  readonly effective: () => readonly EffectiveOption[]
  readonly lookup?: (table: string) => RouteServed | undefined
  /** For `GET /debug/table/<table>`. */
  readonly tableView: (table: string) => Promise<TableView>
}

const BODY_BYTES_MAX = 256 * 1024

function createApp() {
  return fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: 10_000,
    routerOptions: { maxParamLength: 1024 },
    rewriteUrl: ({ url = '/' }) => plainPath(url),
    forceCloseConnections: true,
  })
    .setValidatorCompiler(TypeBoxValidatorCompiler)
    .setSerializerCompiler(() => (value) => JSON.stringify(value))
    .withTypeProvider<TypeBoxTypeProvider>()
}

/** Rejects when the port is taken. */
export async function startAdmin(parts: AdminParts): Promise<AdminServer> {
  const { config, runtime } = parts
  const app = createApp()
  setErrorHandlers(app, runtime.log)
  healthRoutes(app, parts.pages)
  const services = new Services({
    runtime,
    coordinator: parts.coordinator,
    config,
    ...(parts.lookup === undefined ? {} : { lookup: parts.lookup }),
  })
  const streams = new EventStreams(runtime, services.events)
  await app.register(swagger, openApi)
  await app.register(
    async (scope) => {
      const api: Api = scope.withTypeProvider<TypeBoxTypeProvider>()
      api.addHook('onRequest', async (request) => {
        refuseStrangers(request)
        setCaller(request, everybodyHere)
      })
      tableRoutes(api, services)
      changeRoutes(api, services)
      clusterRoutes(api, services)
      groupRoutes(api, services)
      fleetRoutes(api, services)
      auditRoutes(api, services.audit)
      aclRoutes(api, services)
      eventRoutes(api, streams, async () => true)
    },
    { prefix: '/api/v1' },
  )
  await app.register(async (scope) => {
    scope.addHook('onRequest', async (request) => refuseStrangers(request))
    scope.get('/config', { schema: { hide: true } }, () => ({ options: parts.effective() }))
    scope.get<{ Params: { table: string } }>(
      '/debug/table/:table',
      { schema: { hide: true } },
      (request) => parts.tableView(request.params.table),
    )
  })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  const { host, port: wanted } = config.http
  try {
    await app.listen({ host, port: wanted })
  } catch (cause) {
    services.close()
    throw systemError(`listen for HTTP on ${host}:${wanted}`, cause)
  }
  const bound = app.server.address()
  const port = typeof bound === 'object' ? bound?.port : undefined
  return {
    address: `${host}:${port ?? wanted}`,
    services,
    identify: (id) => {
      services.gatewayId = id
    },
    close: async () => {
      streams.close()
      await app.close()
      services.close()
    },
  }
}

function aclRoutes(api: Api, { coordinator, root, tree }: Services): void {
  const report = new AclReport(coordinator, { root, controlRoot: tree.root })
  api.get(
    '/acl-report',
    { schema: { tags: ['gateways'], querystring: AclQuery, response: answers({ 200: AclPage }) } },
    (request) => report.page(request.query),
  )
}

function setErrorHandlers(
  app: Pick<FastifyInstance, 'setErrorHandler' | 'setNotFoundHandler'>,
  log: Log,
): void {
  app.setErrorHandler((error, request, reply) => {
    const { statusCode = 500 } = error as { statusCode?: number }
    if (!(error instanceof ApiError) && statusCode >= 500)
      log.error('admin request failed', {
        requestId: request.id,
        method: request.method,
        url: request.url,
        error,
      })
    return sendProblem(request, reply, error)
  })
  app.setNotFoundHandler((request, reply) => {
    const detail = `no such page: ${request.method} ${request.url.slice(0, 200)}`
    return sendProblem(request, reply, new ApiError('not-found', detail))
  })
}

function healthRoutes(app: Pick<FastifyInstance, 'get'>, pages: HealthPages): void {
  for (const [path, page] of Object.entries(pages))
    app.get(path, { schema: { hide: true } }, async (request, reply) => {
      const { accept } = request.headers
      const answer = await page(new URLSearchParams(), request.method, Buffer.alloc(0), accept)
      return reply.code(answer.status).type(answer.contentType).send(answer.body)
    })
}

/** Without `auth`: whoever is on this machine. */
const everybodyHere: Caller = {
  name: 'loopback',
  via: 'loopback',
  grants: [{ role: 'dr-admin' }, { role: 'admin' }],
}

function refuseStrangers(request: FastifyRequest): void {
  const { remoteAddress = '' } = request.socket
  if (!/^(::ffff:)?127\.|^::1$/.test(remoteAddress))
    throw new ApiError('forbidden', 'the API answers this machine only until auth is configured')
  if (!/^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/.test(request.headers.host ?? ''))
    throw new ApiError('forbidden', 'the API answers under a local host name only')
}
