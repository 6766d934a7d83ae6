/**
 * A small HTTP server for health, metrics and upstream's plain admin pages. The admin API of the
 * gateway is not served here. Answers GET and small bodies only, on a table of exact paths.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { systemError } from './system-error.ts'
import { RuntimeError } from './runtime.ts'

export interface HttpAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: string | Buffer
}

/** A rejection answers 500 with its message and no stack. */
export type HttpRoute = (
  query: URLSearchParams,
  method: string,
  body: Buffer,
  accept: string | undefined,
) => Promise<HttpAnswer>

export interface HttpServer {
  readonly host: string
  /** The real port, also when 0 was asked for. */
  readonly port: number
  /** Ends idle connections at once and the others behind their answer. Idempotent. */
  readonly close: () => Promise<void>
}

const bodyBytesMax = 1 << 20
const connectionsMax = 256
const requestTimeoutMs = 10_000

/** Rejects with a RuntimeError such as EADDRINUSE. */
export async function serveHttp(options: {
  readonly host: string
  readonly port: number
  readonly routes: Readonly<Record<string, HttpRoute>>
}): Promise<HttpServer> {
  const { host, port, routes } = options
  const attempt = `listen for HTTP on ${host}:${port}`
  const server = createServer({ requestTimeout: requestTimeoutMs }, (request, response) => {
    void respond(routes, request, response)
  })
  server.maxConnections = connectionsMax
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(systemError(attempt, cause)))
    server.listen({ host, port }, resolve)
  })
  server.on('error', () => undefined)
  const bound = server.address()
  if (bound === null || typeof bound === 'string')
    throw new RuntimeError('EOTHER', `${attempt}: not a TCP address`)
  return { host, port: bound.port, close: () => close(server) }
}

async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
}

async function respond(
  routes: Readonly<Record<string, HttpRoute>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let answer: HttpAnswer
  try {
    answer = await answerOf(routes, request)
  } catch (cause) {
    answer = plain(500, cause instanceof Error ? cause.message : String(cause))
  }
  if (response.destroyed) return
  response.writeHead(answer.status, {
    'content-type': answer.contentType,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
  })
  response.end(request.method === 'HEAD' ? undefined : answer.body)
}

async function answerOf(
  routes: Readonly<Record<string, HttpRoute>>,
  request: IncomingMessage,
): Promise<HttpAnswer> {
  const [path = '', query = ''] = (request.url ?? '').split(/\?(.*)/s)
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined
  if (route === undefined) return plain(404, `no page ${path}`)
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue
    sizeBytes += chunk.length
    if (sizeBytes > bodyBytesMax) return plain(413, `body over ${bodyBytesMax} bytes`)
    chunks.push(chunk)
  }
  const { method = 'GET', headers } = request
  return route(new URLSearchParams(query), method, Buffer.concat(chunks), headers.accept)
}

export function plain(status: number, text: string): HttpAnswer {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${text}\n` }
}
