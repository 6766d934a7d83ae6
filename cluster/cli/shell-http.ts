/**
 * The admin API of a gateway as the shell calls it: one method for JSON, one for text, one for the
 * stream of events. Failures are `ShellError`s whose message is for people: what the API said, which
 * fields are at fault, and the request's id.
 */

/** `usage`: the words were wrong (exit code 2); anything else failed (1). */
export class ShellError extends Error {
  override readonly name = 'ShellError'
  readonly isUsage: boolean
  /** What the API answered, for `--json`. */
  readonly problem: unknown
  constructor(
    message: string,
    options: { readonly isUsage?: boolean; readonly problem?: unknown } = {},
  ) {
    super(message)
    this.isUsage = options.isUsage === true
    this.problem = options.problem
  }
}

export interface ApiAnswer {
  readonly status: number
  readonly etag: string
  readonly json: unknown
  readonly text: string
}

export interface ApiCall {
  readonly method?: 'GET' | 'PUT' | 'PATCH' | 'POST' | 'DELETE'
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

interface ProblemDetails {
  readonly detail?: string
  readonly code?: string
  readonly requestId?: string
  readonly errors?: readonly { readonly field: string; readonly message: string }[]
  readonly changedBy?: { readonly actor: string; readonly source: string; readonly at: string }
}

const TIMEOUT_MS = 60_000

export class GatewayApi {
  readonly #url: URL
  readonly #headers: Readonly<Record<string, string>>

  /** Throws `ShellError` for text that is no address. */
  constructor(url: string, options: { readonly token?: string | undefined }) {
    const text = /^[a-z]+:\/\//i.test(url) ? url : `http://${url}`
    if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
      throw new ShellError(
        `--gateway: expected an address such as http://127.0.0.1:34680, found ${url}`,
        {
          isUsage: true,
        },
      )
    this.#url = new URL(text)
    this.#headers = {
      'x-change-source': 'cli',
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
    }
  }

  get address(): string {
    return this.#url.origin
  }

  /** `path` below `/api/v1`. Throws `ShellError` for everything but success. */
  async call(
    path: string,
    { method = 'GET', body, headers = {} }: ApiCall = {},
  ): Promise<ApiAnswer> {
    const response = await this.#fetch(path, {
      method,
      headers: {
        ...this.#headers,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = /json/.test(response.headers.get('content-type') ?? '')
    const json: unknown = isJson && text !== '' ? parse(text) : undefined
    if (!response.ok) throw failure(response.status, json, text)
    return { status: response.status, etag: response.headers.get('etag') ?? '', json, text }
  }

  /** The data of each event, until the stream or the signal ends. */
  async *events(topics: string, signal: AbortSignal): AsyncGenerator<string> {
    const query = topics === '' ? '' : `?topics=${encodeURIComponent(topics)}`
    const response = await this.#fetch(`/events${query}`, { headers: this.#headers, signal })
    if (!response.ok) {
      const text = await response.text()
      throw failure(response.status, parse(text), text)
    }
    const decoder = new TextDecoder()
    let rest = ''
    for await (const chunk of response.body ?? []) {
      const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line.startsWith('data: ')) yield line.slice('data: '.length)
    }
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(new URL(`/api/v1${path}`, this.#url), init)
    } catch (error) {
      if (init.signal?.aborted === true && !(init.signal.reason instanceof DOMException))
        throw error
      const { cause, message } = error as Error & { readonly cause?: unknown }
      const reason = cause instanceof Error && cause.message !== '' ? cause.message : message
      throw new ShellError(`no answer from ${this.address}: ${reason}`)
    }
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function failure(status: number, json: unknown, text: string): ShellError {
  if (typeof json !== 'object' || json === null)
    return new ShellError(`the gateway answered ${status}: ${text.slice(0, 200)}`)
  const { detail, code, requestId, errors = [], changedBy } = json as ProblemDetails
  const lines = [`${detail ?? 'failed'} (${code ?? status}, request ${requestId ?? 'unknown'})`]
  for (const { field, message } of errors) {
    const line = `  ${field === '' ? 'request' : field}: ${message}`
    if (!lines[0]?.includes(message)) lines.push(line)
  }
  if (changedBy !== undefined)
    lines.push(`  changed by ${changedBy.actor} (${changedBy.source}) at ${changedBy.at}`)
  if (code === 'not-logged-in')
    lines.push('  give a token: --token-file FILE, or METAPROXY_TOKEN in the environment')
  return new ShellError(lines.join('\n'), { problem: json })
}
