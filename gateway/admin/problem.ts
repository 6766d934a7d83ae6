/** Failures of the admin API as problem details (gateway.md 14, H-1): every one has a stable code. */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import type { Writable } from 'node:stream'
import { CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import { type Problem, type ProblemCode, problemCodes } from './api/problem.ts'

type ProblemFacts = Partial<
  Pick<Problem, 'errors' | 'current' | 'changedBy' | 'missing' | 'retryAfterSeconds'>
>

/** Thrown by whatever serves a request, answered by `sendProblem`. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: ProblemCode
  readonly facts: ProblemFacts
  constructor(
    code: ProblemCode,
    detail: string,
    facts: ProblemFacts = {},
    options: ErrorOptions = {},
  ) {
    super(detail, options)
    this.code = code
    this.facts = facts
  }
}

/** One field at fault. */
export function badField(field: string, message: string): ApiError {
  const detail = field === '' ? message : `${field}: ${message}`
  return new ApiError('bad-request', detail, { errors: [{ field, message }] })
}

/** A failed coordination call; after a write that may have happened the outcome is unknown. */
export function fromCoordinator(error: unknown, isWrite: boolean): unknown {
  if (!(error instanceof CoordinatorError)) return error
  const { code, message } = error
  if (code === 'too-large') return new ApiError('too-large', message)
  if (code === 'no-auth') {
    const help = 'check zookeeper.control.user, its password and the access list of the node'
    return new ApiError(
      'zookeeper-unavailable',
      `ZooKeeper refuses this gateway: ${message}; ${help}`,
      {},
      { cause: error },
    )
  }
  const isUnknown = code === 'connection-loss' || code === 'timeout'
  return new ApiError(isWrite && isUnknown ? 'outcome-unknown' : 'zookeeper-unavailable', message)
}

const byStatus: Readonly<Record<number, ProblemCode>> = {
  404: 'not-found',
  405: 'method-not-allowed',
  413: 'too-large',
  415: 'unsupported-media-type',
  429: 'too-many-requests',
}

/** Where fastify's own words do not say what was expected. */
const frameworkWords: Readonly<Record<string, string>> = {
  FST_ERR_BAD_URL: 'the address is not percent-encoded UTF-8',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'the body must be JSON: send content-type: application/json',
}

export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof CoordinatorError) return fromCoordinator(error, false) as ApiError
  const { statusCode = 500, code, message } = error as FastifyError
  if (statusCode >= 500) return new ApiError('internal', 'the request failed; the log says why')
  return new ApiError(byStatus[statusCode] ?? 'bad-request', frameworkWords[code] ?? message)
}

/** Also for items of a batch. */
export function problemOf(error: unknown, requestId: string): Problem {
  const { code, message, facts } = asApiError(error)
  const [status, title] = problemCodes[code]
  return { type: 'about:blank', title, status, code, detail: message, requestId, ...facts }
}

export function sendProblem(
  request: FastifyRequest,
  reply: FastifyReply,
  error: unknown,
): FastifyReply {
  const problem = problemOf(error, request.id)
  if (problem.retryAfterSeconds !== undefined)
    void reply.header('retry-after', problem.retryAfterSeconds)
  return reply
    .code(problem.status)
    .type('application/problem+json')
    .send(Buffer.from(JSON.stringify(problem)))
}

/** By the parser's error code. */
const notRequests: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  HPE_HEADER_OVERFLOW: ['headers-too-large', 'too many bytes of headers'],
  ERR_HTTP_REQUEST_TIMEOUT: ['request-timeout', 'no whole request within its time'],
}

/** To who sent what is no HTTP request at all: before there is a request. */
export function answerNoRequest(socket: Writable, error: Error & { readonly code?: string }): void {
  if (!socket.writable || error.code === 'ECONNRESET') return
  const [code, what] = notRequests[error.code ?? ''] ?? (['bad-request', 'not HTTP'] as const)
  const problem = problemOf(new ApiError(code, what), '')
  const body = JSON.stringify(problem)
  const head = [
    `HTTP/1.1 ${problem.status} ${problem.title}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}
