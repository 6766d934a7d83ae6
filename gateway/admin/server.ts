/**
 * The admin port of a gateway: health, metrics and the mapping API on fastify (gateway.md 12 to 14).
 * Without authentication configured, the API answers callers on this machine only, and only under a
 * local host name (so that no web page can reach it by a name of its own); health and metrics answer
 * everybody who reaches the port.
 */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { EffectiveOption } from '../../cluster/runtime/config.ts'
import type { Clock, Log } from '../../cluster/runtime/runtime.ts'
import { systemError } from '../../cluster/runtime/system-error.ts'
import type { GatewayConfig } from '../config.ts'
import type { HealthPages } from '../health.ts'
import { controlRootOf } from '../routing/control-nodes.ts'
import { AclPage, AclQuery, AclReport } from './acl-report.ts'
import { ApiError, sendProblem } from './problem.ts'
import { tableRoutes } from './routes.ts'
import { TableNodes } from './tables.ts'

export interface AdminServer {
  /** `host:port`, with the real port. */
  readonly address: string
  readonly close: () => Promise<void>
}

export interface AdminParts {
  readonly config: Pick<GatewayConfig, 'http' | 'zookeeper' | 'routing'>
  readonly log: Log
  readonly clock: Clock
  /** The caller's; not closed here. */
  readonly coordinator: Coordinator
  /** Health and metrics, which answer everybody who reaches the port. */
  readonly pages: HealthPages
  /** For `GET /config`. */
  readonly effective: readonly EffectiveOption[]
}

const BODY_BYTES_MAX = 256 * 1024

export type AdminApp = ReturnType<typeof createApp>

function createApp() {
  return fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: 10_000,
    routerOptions: { maxParamLength: 1024 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, allErrors: true } },
  }).withTypeProvider<TypeBoxTypeProvider>()
}

/** Rejects when the port is taken. */
export async function startAdmin(parts: AdminParts): Promise<AdminServer> {
  const { config, log } = parts
  const app = createApp()
  app.setErrorHandler((error, request, reply) => {
    const { statusCode = 500 } = error as { statusCode?: number }
    if (!(error instanceof ApiError) && statusCode >= 500)
      log.error('admin request failed', { method: request.method, url: request.url, error })
    return sendProblem(reply, error)
  })
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, new ApiError('not-found', `no such page: ${request.method} ${request.url}`)),
  )
  healthRoutes(app, parts.pages)
  const nodes = new TableNodes(parts.coordinator, {
    root: config.zookeeper.root,
    writeForm: config.routing.writeForm,
  })
  await app.register(async (api) => {
    api.addHook('onRequest', async (request) => refuseStrangers(request))
    api.get('/config', () => ({ options: parts.effective }))
    const { root } = config.zookeeper
    const controlRoot = controlRootOf(config.zookeeper)
    const report = new AclReport(parts.coordinator, { root, controlRoot })
    api
      .withTypeProvider<TypeBoxTypeProvider>()
      .get(
        '/api/v1/acl-report',
        { schema: { querystring: AclQuery, response: { 200: AclPage } } },
        (request) => report.page(request.query),
      )
    tableRoutes(api.withTypeProvider<TypeBoxTypeProvider>(), nodes)
  })
  const { host, port: wanted } = config.http
  try {
    await app.listen({ host, port: wanted })
  } catch (cause) {
    throw systemError(`listen for HTTP on ${host}:${wanted}`, cause)
  }
  const bound = app.server.address()
  const port = typeof bound === 'object' ? bound?.port : undefined
  return {
    address: `${host}:${port ?? wanted}`,
    close: () => app.close(),
  }
}

function healthRoutes(app: Pick<FastifyInstance, 'get'>, pages: HealthPages): void {
  for (const [path, page] of Object.entries(pages))
    app.get(path, async (request, reply) => {
      const { accept } = request.headers
      const answer = await page(new URLSearchParams(), request.method, Buffer.alloc(0), accept)
      return reply.code(answer.status).type(answer.contentType).send(answer.body)
    })
}

function refuseStrangers(request: FastifyRequest): void {
  const { remoteAddress = '' } = request.socket
  if (!/^(::ffff:)?127\.|^::1$/.test(remoteAddress))
    throw new ApiError('forbidden', 'the API answers this machine only until auth is configured')
  if (!/^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/.test(request.headers.host ?? ''))
    throw new ApiError('forbidden', 'the API answers under a local host name only')
}
