/**
 * Calls of the admin API: JSON in and out, problem details as `ApiProblem`, the session's CSRF token
 * and an idempotency key with whatever changes something. No retries here: react-query repeats
 * reads, and a change is repeated by the person, with the same key when its outcome is unknown.
 */
import type { Problem } from '../../../gateway/admin/api/problem.ts'

const BASE = '/api/v1'
const TIMEOUT_MS = 30_000

/** A failure that the API told of, or, with `status` 0, no answer at all. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem'
  readonly problem: Problem
  constructor(problem: Problem) {
    super(problem.detail)
    this.problem = problem
  }
  get code(): string {
    return this.problem.code
  }
  get status(): number {
    return this.problem.status
  }
}

export interface Answer<T> {
  readonly data: T
  readonly etag: string | undefined
}

export interface CallOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly body?: unknown
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly ifMatch?: string
  readonly ifNoneMatch?: '*'
  readonly reason?: string
  /** The same key gives the same answer: for repeating a change whose outcome is unknown. */
  readonly idempotencyKey?: string
  readonly signal?: AbortSignal
}

const session = { csrfToken: undefined as string | undefined, onEnd: () => {} }

/** Of the session; sent with every change from now on. */
export function setCsrfToken(token: string | undefined): void {
  session.csrfToken = token
}

/** Called when the API no longer knows the session. */
export function onSessionEnd(listener: () => void): void {
  session.onEnd = listener
}

export function pathOf(path: string, query: CallOptions['query'] = {}): string {
  const words = new URLSearchParams()
  for (const [key, value] of Object.entries(query))
    if (value !== undefined && value !== '') words.set(key, String(value))
  const text = words.toString()
  return `${BASE}${path}${text === '' ? '' : `?${text}`}`
}

function headersOf(options: CallOptions): Headers {
  const headers = new Headers({ accept: 'application/json' })
  const set = (name: string, value: string | undefined): void => {
    if (value !== undefined && value !== '') headers.set(name, value)
  }
  if (options.body !== undefined) headers.set('content-type', 'application/json')
  if ((options.method ?? 'GET') === 'GET') return headers
  headers.set('x-change-source', 'ui')
  headers.set('idempotency-key', options.idempotencyKey ?? crypto.randomUUID())
  set('x-csrf-token', session.csrfToken)
  set('if-match', options.ifMatch)
  set('if-none-match', options.ifNoneMatch)
  set(
    'x-change-reason',
    options.reason === undefined ? undefined : encodeURIComponent(options.reason),
  )
  return headers
}

function localProblem(code: string, title: string, detail: string): ApiProblem {
  return new ApiProblem({ type: 'about:blank', status: 0, title, code, detail, requestId: '' })
}

async function problemOf(response: Response): Promise<ApiProblem> {
  const type = response.headers.get('content-type') ?? ''
  if (type.startsWith('application/problem+json'))
    return new ApiProblem((await response.json()) as Problem)
  return new ApiProblem({
    type: 'about:blank',
    status: response.status,
    title: response.statusText,
    code: 'not-understood',
    detail: `${response.status} ${response.statusText}`,
    requestId: response.headers.get('x-request-id') ?? '',
  })
}

/** Rejects with `ApiProblem`, or with the abort's reason when `signal` was aborted. */
export async function call<T>(path: string, options: CallOptions = {}): Promise<Answer<T>> {
  const { method = 'GET', body, query, signal } = options
  const patience = AbortSignal.timeout(TIMEOUT_MS)
  let response: Response
  try {
    response = await fetch(pathOf(path, query), {
      method,
      headers: headersOf(options),
      signal: signal === undefined ? patience : AbortSignal.any([signal, patience]),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  } catch (error) {
    if (signal?.aborted === true) throw error
    throw localProblem('no-answer', 'No answer', error instanceof Error ? error.message : '')
  }
  if (!response.ok) {
    const problem = await problemOf(response)
    if (problem.code === 'not-logged-in') session.onEnd()
    throw problem
  }
  const etag = response.headers.get('etag') ?? undefined
  if (response.status === 204) return { data: undefined as T, etag }
  return { data: (await response.json()) as T, etag }
}

/** The same for reads whose ETag nobody needs. */
export async function read<T>(
  path: string,
  query?: CallOptions['query'],
  signal?: AbortSignal,
): Promise<T> {
  const { data } = await call<T>(path, {
    ...(query === undefined ? {} : { query }),
    ...(signal === undefined ? {} : { signal }),
  })
  return data
}
