/**
 * What all routes of the admin API share: the types of the server, who calls, how a change's author is
 * made of a request, and answering once for an idempotency key.
 */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  RawServerDefault,
} from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { type Static, type TSchema, Type } from 'typebox'
import { Problem } from './api/problem.ts'
import type { Authenticated } from './authentication.ts'
import type { IdempotentRequests, KeptAnswer, Ticket } from './idempotency.ts'
import type { Author } from './journal.ts'
import { ApiError, badField } from './problem.ts'
import type { Caller } from './rights.ts'
import type { Precondition } from './table-edits.ts'

export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

const REASON_LENGTH_MAX = 1000
const identities = new WeakMap<FastifyRequest, Authenticated>()

/** Set before any route runs, when there is somebody. */
export function setIdentity(request: FastifyRequest, identity: Authenticated): void {
  identities.set(request, identity)
}

export function identityOf(request: FastifyRequest): Authenticated | undefined {
  return identities.get(request)
}

export function callerOf(request: FastifyRequest): Caller {
  const identity = identities.get(request)
  if (identity === undefined) throw new ApiError('not-logged-in', 'log in, or send a token')
  return identity.caller
}

/** The header is percent-encoded; plain ASCII without % is that already. */
function reasonOf(request: FastifyRequest): string | undefined {
  const given = request.headers['x-change-reason']
  if (typeof given !== 'string' || given.trim() === '') return undefined
  let reason: string
  try {
    reason = decodeURIComponent(given).trim()
  } catch {
    throw badField('x-change-reason', 'expected percent-encoded UTF-8')
  }
  if (reason.length > REASON_LENGTH_MAX)
    throw badField('x-change-reason', `expected at most ${REASON_LENGTH_MAX} characters`)
  return reason
}

export function authorOf(request: FastifyRequest, reasonRequired: boolean): Author {
  const reason = reasonOf(request)
  if (reason === undefined && reasonRequired)
    throw new ApiError('reason-required', 'send X-Change-Reason: why is this changed?')
  const source = request.headers['x-change-source']
  return {
    actor: callerOf(request).name,
    source: source === 'ui' || source === 'cli' ? source : 'api',
    from: request.ip,
    requestId: request.id,
    reason,
  }
}

export function preconditionOf({ headers }: FastifyRequest): Precondition {
  return { ifMatch: headers['if-match'], ifNoneMatch: headers['if-none-match'] }
}

/** The schemas of a route's answers: its own, and problem details for everything else. */
export function answers<const Own extends Readonly<Record<number, TSchema>>>(own: Own) {
  return {
    ...own,
    default: { content: { 'application/problem+json': { schema: Problem } } },
  } as Own & { readonly default: unknown }
}

export const NoContent = Type.Null({ description: 'Done; no content' })
export type AnswerOf<Schema extends TSchema> = Static<Schema>

export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Left out: no content. */
  readonly body?: unknown
  /** Instead of a body that is long (`json-pieces.ts`); it is not kept for a repeated key. */
  readonly pieces?: AsyncIterable<string>
}

export function isReplay(begun: KeptAnswer | Ticket): begun is KeptAnswer {
  return 'status' in begun
}

/** Acts once for the request's idempotency key, if it has one. */
export async function once(
  requests: IdempotentRequests,
  request: FastifyRequest,
  replay: (kept: KeptAnswer) => Answer,
  act: (ticket: Ticket | undefined) => Promise<Answer & { readonly isRecorded?: boolean }>,
): Promise<Answer> {
  const key = request.headers['idempotency-key']
  if (typeof key !== 'string') return act(undefined)
  const line = [
    request.method,
    request.url,
    request.headers['if-match'] ?? '',
    request.headers['if-none-match'] ?? '',
  ].join(' ')
  const caller = callerOf(request).name
  const begun = await requests.begin({ caller, key, line, body: request.body })
  if (isReplay(begun)) {
    const answer = replay(begun)
    return { ...answer, headers: { ...answer.headers, 'idempotency-replayed': 'true' } }
  }
  let answer: Answer & { readonly isRecorded?: boolean }
  try {
    answer = await act(begun)
  } catch (error) {
    // What may have happened keeps its record: a retry is told to look first.
    if (!(error instanceof ApiError) || error.code !== 'outcome-unknown') await begun.abandon()
    throw error
  }
  if (answer.isRecorded !== true) {
    const { status, headers = {}, body } = answer
    const text = body === undefined ? '' : JSON.stringify(body)
    await begun.complete({ status, headers, body: text }).catch(() => undefined)
  }
  return answer
}

/** For answers whose body is kept as it was. */
export function sameAgain({ status, headers, body }: KeptAnswer): Answer {
  return {
    status,
    headers,
    ...(body === undefined || body === '' ? {} : { body: JSON.parse(body) as unknown }),
  }
}

export function send(reply: FastifyReply, answer: Answer): FastifyReply {
  const { status, headers = {}, body, pieces } = answer
  void reply.code(status).headers(headers)
  if (pieces !== undefined)
    return reply.type('application/json; charset=utf-8').send(Readable.from(pieces))
  return body === undefined
    ? reply.send()
    : reply.type('application/json; charset=utf-8').send(Buffer.from(JSON.stringify(body)))
}
