/** A gateway with its admin port in this process, on memory coordination, and calls of its API. */
import type { Static, TSchema } from 'typebox'
import { Errors } from 'typebox/value'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { Problem } from '../../gateway/admin/api/problem.ts'
import { tableView } from '../../gateway/table-view.ts'
import { type AdminServer, startAdmin } from '../../gateway/admin/server.ts'
import type { GatewayConfig } from '../../gateway/config.ts'
import { healthPages } from '../../gateway/health.ts'
import { type GatewayWorld, answerOf, startWorld, testConfig } from './gateway-world.ts'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly etag: string
  readonly text: string
  /** The body; undefined when it is not JSON. */
  readonly json: unknown
  /** The body as the contract has it; throws when it is not that. */
  readonly as: <S extends TSchema>(schema: S) => Static<S>
  /** Status and code, of a problem. */
  readonly code: string
  readonly problem: Problem
}

export interface CallOptions {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export type Call = (method: string, path: string, options?: CallOptions) => Promise<Answer>

export interface AdminWorld {
  readonly world: GatewayWorld
  readonly admin: AdminServer
  /** `path` below `/api/v1` unless it begins with //. */
  readonly call: Call
  /** A further gateway's admin port on the same tree. */
  readonly another: () => Promise<{ readonly admin: AdminServer; readonly call: Call }>
}

export const create = { 'if-none-match': '*' }

export function callOf(address: string, common: Readonly<Record<string, string>> = {}): Call {
  return async (method, path, { body, headers = {} } = {}) => {
    const url = path.startsWith('//') ? path.slice(1) : `/api/v1${path}`
    const response = await fetch(`http://${address}${url}`, {
      method,
      redirect: 'manual',
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        connection: 'close',
        ...common,
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const parsed: unknown = /json/.test(response.headers.get('content-type') ?? '')
      ? parse(text)
      : undefined
    const problem = parsed as Problem
    return {
      status: response.status,
      headers: response.headers,
      etag: response.headers.get('etag') ?? '',
      text,
      json: parsed,
      as: (schema) => {
        const [error] = Errors(schema, parsed)
        if (error === undefined) return parsed as Static<typeof schema>
        throw new Error(`${method} ${path}: ${error.instancePath} ${error.message}: ${text}`)
      },
      code: `${response.status} ${problem?.code ?? ''}`.trim(),
      problem,
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

function configOf(
  flags: Readonly<Record<string, string>>,
  password: string | undefined,
): GatewayConfig {
  const { 'auth.oidc.clientSecret': clientSecret, ...plain } = flags
  const config = testConfig(plain)
  const { firstAdmin, oidc } = config.auth
  return {
    ...config,
    auth: {
      ...config.auth,
      firstAdmin: { ...firstAdmin, password },
      oidc: { ...oidc, clientSecret },
    },
  }
}

/** An admin port without a gateway behind it, on any coordination. */
export function openAdmin(
  runtime: Runtime,
  coordinator: Coordinator,
  flags: Readonly<Record<string, string>> = {},
  adminPassword?: string,
): Promise<AdminServer> {
  return startAdmin({
    config: configOf(flags, adminPassword),
    runtime,
    coordinator,
    pages: {},
    effective: () => [],
    tableView: async (table) => tableView(table, undefined, []),
    answer: async () => undefined,
    probed: () => undefined,
    redirects: { redirects: new Map(), onRedirects: () => () => undefined },
  })
}

export async function startAdminWorld(
  t: { teardown: (end: () => Promise<void>) => unknown },
  flags: Readonly<Record<string, string>> = {},
  sessionTimeoutMs?: number,
  /** Of the first administrator, and everything else that a real process takes by reference. */
  adminPassword?: string,
): Promise<AdminWorld> {
  const world = await startWorld({}, sessionTimeoutMs)
  const open = (coordinator: typeof world.coordinator): Promise<AdminServer> =>
    startAdmin({
      config: configOf(flags, adminPassword),
      runtime: world.runtime,
      coordinator,
      pages: healthPages(world.gateway, () => world.metrics.text()),
      effective: () => [],
      tableView: async (table) => tableView(table, undefined, []),
      answer: (question) => answerOf(world.gateway, question),
      probed: () => undefined,
      redirects: world.gateway.directory,
    })
  const admin = await open(world.coordinator).catch(async (error: unknown) => {
    await world.close()
    throw error
  })
  const ends: (() => Promise<void>)[] = [() => admin.close()]
  t.teardown(async () => {
    for (const end of ends.toReversed()) await end()
    await world.close()
  })
  return {
    world,
    admin,
    call: callOf(admin.address),
    another: async () => {
      const coordinator = world.memory.connect(world.runtime, {
        sessionTimeoutMs: 30_000,
        onExpiry: 'renew',
        name: 'another gateway',
      })
      const other = await open(coordinator)
      ends.push(async () => {
        await other.close()
        await coordinator.close()
      })
      return { admin: other, call: callOf(other.address) }
    },
  }
}
