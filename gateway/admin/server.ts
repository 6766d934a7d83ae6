/**
 * The admin port of a gateway: health, metrics, the admin API and its page on fastify (gateway.md 12 to
 * 14). Without authentication configured, the API answers callers on this machine only, and only under
 * a local host name (so that no web page can reach it by a name of its own); health and metrics answer
 * everybody who reaches the port.
 */
import swagger from '@fastify/swagger'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import cookie from '@fastify/cookie'
import helmet from '@fastify/helmet'
import type { RequestListener } from 'node:http'
import fastify, { type FastifyInstance } from 'fastify'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { EffectiveOption } from '../../cluster/runtime/config.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import { systemError } from '../../cluster/runtime/system-error.ts'
import type { GatewayConfig } from '../config.ts'
import type { HealthPages } from '../health.ts'
import type { FleetQuestion } from '../routing/fleet-questions.ts'
import type { TableView } from '../table-view.ts'
import type { ProbeResult } from '../upstream/probes.ts'
import { AclReport } from './acl-report.ts'
import { AclPage, AclQuery } from './api/acl.ts'
import { authenticationOf, openAccess } from './access.ts'
import { approvalRoutes } from './approval-routes.ts'
import { accessRoutes, sessionRoutes } from './access-routes.ts'
import { auditRoutes } from './audit-routes.ts'
import { changeRoutes } from './change-routes.ts'
import { EventStreams, eventRoutes } from './event-routes.ts'
import { openApi, plainPath, withClientPaths } from './open-api.ts'
import { NameParams } from './api/requests.ts'
import { isPageRoute, isPageThere, sendIndex, servePage } from './page-files.ts'
import { ApiError, answerNoRequest, sendProblem } from './problem.ts'
import { gatewayRoutes } from './gateway-routes.ts'
import { parseBody } from './large-body.ts'
import { clusterRoutes, groupRoutes } from './registry-routes.ts'
import { type Api, answers, callerOf, setIdentity } from './requests.ts'
import { demand } from './rights.ts'
import { compileSchema } from './schema-errors.ts'
import { type RouteServed, type ServiceParts, Services } from './services.ts'
import type { RedirectsInForce } from './table-context.ts'
import { tableRoutes } from './table-routes.ts'
import { AdminTls } from './tls-listener.ts'

export interface AdminServer {
  /** `host:port`, with the real port. */
  readonly address: string
  readonly services: Services
  /** The id under which this gateway is in the fleet, as soon as there is one. */
  readonly identify: (id: string) => void
  /** Reads the certificate again, when there is one. */
  readonly renewTls: () => Promise<void>
  readonly close: () => Promise<void>
}

export interface AdminParts {
  readonly config: ServiceParts['config'] & Pick<GatewayConfig, 'http' | 'auth' | 'tls'>
  readonly runtime: Runtime
  /** The caller's; not closed here. */
  readonly coordinator: Coordinator
  /** Health and metrics, which answer everybody who reaches the port. */
  readonly pages: HealthPages
  /** For `GET /config`. */
  readonly effective: () => readonly EffectiveOption[]
  /** For `GET /debug/table/<table>`. */
  readonly tableView: (table: string) => Promise<TableView>
  /** What the fleet's last probe of a cluster found; undefined before one did. */
  readonly probed: (cluster: string) => ProbeResult | undefined
  /** What this gateway answers to a question of its fleet. */
  readonly answer: (question: FleetQuestion) => Promise<unknown>
  readonly redirects: RedirectsInForce
}

const REQUEST_MS = 10_000
const BODY_BYTES_MAX = 256 * 1024
const API = '/api/v1'
/** For whoever is logged in, with any rights or none. */
const ownPages = /^\/api\/v1\/(me|session)\b/

/** The page is made of its own files: nothing inline, nothing from elsewhere, in nobody's frame. */
const contentSecurity = {
  defaultSrc: ["'self'"],
  imgSrc: ["'self'", 'data:'],
  objectSrc: ["'none'"],
  baseUri: ["'none'"],
  formAction: ["'self'"],
  frameAncestors: ["'none'"],
}

function createApp(tls: AdminTls | undefined) {
  return fastify({
    ...(tls === undefined
      ? {}
      : { serverFactory: (handler: RequestListener) => tls.serve(handler, REQUEST_MS) }),
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_MS,
    routerOptions: { maxParamLength: 1024 },
    rewriteUrl: ({ url = '/' }) => plainPath(url),
    forceCloseConnections: true,
    clientErrorHandler: (error, socket) => answerNoRequest(socket, error),
    frameworkErrors: (error, request, reply) => {
      void sendProblem(request, reply, error)
    },
  })
    .setValidatorCompiler(compileSchema)
    .setSerializerCompiler(() => (value) => JSON.stringify(value))
    .withTypeProvider<TypeBoxTypeProvider>()
}

/** Rejects when the port is taken, or the certificate unusable. */
export async function startAdmin(parts: AdminParts): Promise<AdminServer> {
  const { config, runtime } = parts
  const tls = await AdminTls.read(runtime, config)
  const app = createApp(tls)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    async (_request: unknown, body: string) => parseBody(body),
  )
  setErrorHandlers(app, runtime.log)
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: contentSecurity },
    // A browser would refuse every other port of this host without TLS too.
    strictTransportSecurity: false,
    referrerPolicy: { policy: 'same-origin' },
  })
  if (isPageThere()) await servePage(app)
  healthRoutes(app, parts.pages)
  const services = new Services({
    runtime,
    coordinator: parts.coordinator,
    config,
    lookup: (table) => served(parts.tableView, table),
    answer: parts.answer,
    redirects: parts.redirects,
    probed: parts.probed,
  })
  const streams = new EventStreams(runtime, services.events)
  await app.register(swagger, openApi)
  const access = openAccess(services, config.auth)
  const authentication = authenticationOf(services, access)
  const accessParts = { services, authentication, access, admin: config.admin }
  await app.register(async (scope) => {
    const api: Api = scope.withTypeProvider<TypeBoxTypeProvider>()
    await api.register(cookie)
    api.addHook('onRequest', async (request) => {
      const identity = await authentication.identify(request)
      if (identity !== undefined) setIdentity(request, identity)
    })
    await api.register(async (open) => sessionRoutes(open, accessParts), { prefix: API })
    await api.register(
      async (guarded) => {
        guarded.addHook('onRequest', async (request) => {
          const caller = callerOf(request)
          if (!ownPages.test(request.url)) demand(caller, 'read')
        })
        accessRoutes(guarded, accessParts)
        tableRoutes(guarded, services)
        await guarded.register(async (large) => changeRoutes(large, services))
        approvalRoutes(guarded, services)
        clusterRoutes(guarded, services)
        groupRoutes(guarded, services)
        gatewayRoutes(guarded, services)
        auditRoutes(guarded, services.audit)
        aclRoutes(guarded, services)
        eventRoutes(guarded, streams, async (request) => {
          const identity = await authentication.identify(request).catch(() => undefined)
          return identity !== undefined
        })
      },
      { prefix: API },
    )
    api.get('/config', { schema: { hide: true } }, async (request) => {
      demand(callerOf(request), 'read')
      return { options: parts.effective() }
    })
    api.get('/debug/table/:name', { schema: { hide: true, params: NameParams } }, (request) => {
      demand(callerOf(request), 'read')
      return parts.tableView(request.params.name)
    })
  })
  app.get('/openapi.json', { schema: { hide: true } }, async () => withClientPaths(app.swagger()))
  const { host, port: wanted } = config.http
  try {
    await app.listen({ host, port: wanted })
  } catch (cause) {
    tls?.close()
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
    renewTls: async () => tls?.renew(),
    close: async () => {
      streams.close()
      tls?.close()
      await app.close()
      access?.close()
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
    if (isPageRoute(request) && isPageThere()) return sendIndex(reply)
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

/** What this gateway answers clients now, by the first of its processes. */
async function served(
  tableView: AdminParts['tableView'],
  table: string,
): Promise<RouteServed | undefined> {
  const [first] = (await tableView(table)).processes
  if (first === undefined) return undefined
  const { answer: kind, cluster } = first
  return { kind, ...(cluster === undefined ? {} : { cluster }) }
}
