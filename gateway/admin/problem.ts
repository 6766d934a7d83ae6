/** Failures of the admin API as problem details (gateway.md 14, H-1): every one has a stable code. */
import type { FastifyError, FastifyReply } from 'fastify'
import { CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import type { Problem, ProblemCode, Table } from './api.ts'

const titles: Readonly<Record<ProblemCode, readonly [status: number, title: string]>> = {
  'bad-request': [400, 'The request is not valid'],
  forbidden: [403, 'Not allowed from here'],
  'not-found': [404, 'Not found'],
  frozen: [409, 'The table is frozen'],
  'changed-meanwhile': [412, 'Somebody else changed it'],
  exists: [412, 'It exists already'],
  'precondition-required': [428, 'If-Match or If-None-Match is missing'],
  'too-large': [413, 'The request is too large'],
  'zookeeper-unavailable': [503, 'ZooKeeper does not answer'],
  'outcome-unknown': [503, 'The change may or may not have happened'],
  internal: [500, 'Internal error'],
}

interface ProblemFacts {
  readonly errors?: readonly { readonly field: string; readonly message: string }[]
  readonly current?: Table
}

/** Thrown by routes, answered by `sendProblem`. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: ProblemCode
  readonly facts: ProblemFacts
  constructor(code: ProblemCode, detail: string, facts: ProblemFacts = {}) {
    super(detail)
    this.code = code
    this.facts = facts
  }
}

/** A failed coordination call; after a write that may have happened the outcome is unknown. */
export function fromCoordinator(error: unknown, isWrite: boolean): unknown {
  if (!(error instanceof CoordinatorError)) return error
  const isUnknown = error.code === 'connection-loss' || error.code === 'timeout'
  return new ApiError(
    isWrite && isUnknown ? 'outcome-unknown' : 'zookeeper-unavailable',
    error.message,
  )
}

/** `/metas/0` → `metas.0`; a missing or unknown property is named itself. */
function fieldOf(entry: NonNullable<FastifyError['validation']>[number]): string {
  const path = entry.instancePath.slice(1).replaceAll('/', '.')
  const property = entry.params['missingProperty'] ?? entry.params['additionalProperty']
  const last = typeof property === 'string' ? property : ''
  return [path, last].filter((part) => part !== '').join('.')
}

function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof CoordinatorError) return fromCoordinator(error, false) as ApiError
  const { validation, statusCode = 500, message } = error as FastifyError
  if (validation !== undefined) {
    const errors = validation.map((entry) => ({
      field: fieldOf(entry),
      message: entry.message ?? '',
    }))
    return new ApiError('bad-request', message, { errors })
  }
  if (statusCode === 413) return new ApiError('too-large', message)
  return statusCode < 500
    ? new ApiError('bad-request', message)
    : new ApiError('internal', 'the request failed; the log says why')
}

export function sendProblem(reply: FastifyReply, error: unknown): FastifyReply {
  const { code, message, facts } = asApiError(error)
  const [status, title] = titles[code]
  const problem: Problem = { type: 'about:blank', title, status, code, detail: message, ...facts }
  return reply
    .code(status)
    .type('application/problem+json')
    .send(Buffer.from(JSON.stringify(problem)))
}
