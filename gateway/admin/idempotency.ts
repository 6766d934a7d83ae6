/**
 * Idempotency keys (gateway.md 14, H-1): the first answer to a key is kept for 24 hours in the control
 * tree, `requests/<day>/<hash of caller and key>`, so that a retry at any gateway gets it again instead
 * of acting twice. The record of a single mapping's change is completed in the transaction of that
 * change: there is no moment in which the change is there and its record is not.
 */
import { createHash } from 'node:crypto'
import type { Coordinator, CoordinatorOperation } from '../../cluster/coordinator/coordinator.ts'
import { type ControlTree, createIfAbsent, isCode } from './control-tree.ts'
import { ApiError, fromCoordinator } from './problem.ts'
import type { FolderNode } from './watched-folder.ts'

const KEPT_MS = 24 * 3_600_000
/** A request that has not ended after this is not running any more. */
const RUNNING_MS_MAX = 120_000
const BODY_BYTES_MAX = 512 * 1024

interface StoredRequest {
  readonly digest: string
  readonly atMs: number
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** The mapping that it left behind; its zxid and time are those of this node. */
  readonly table?: { readonly name: string; readonly text: string; readonly version: number }
}

export interface KeptAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  readonly node: FolderNode | undefined
}

export interface RequestFacts {
  readonly caller: string
  readonly key: string
  /** Method, path and precondition. */
  readonly line: string
  readonly body: unknown
}

/** The right to act once. End it with one of the three. */
export interface Ticket {
  /** Goes into the transaction of the change. */
  readonly completion: (
    status: number,
    table: StoredRequest['table'] | undefined,
  ) => CoordinatorOperation
  readonly complete: (answer: {
    readonly status: number
    readonly headers: Readonly<Record<string, string>>
    readonly body: string
  }) => Promise<void>
  /** Nothing happened: the key may be used again. */
  readonly abandon: () => Promise<void>
}

export class IdempotentRequests {
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #wallMs: () => number

  constructor(coordinator: Coordinator, tree: ControlTree, wallMs: () => number) {
    this.#coordinator = coordinator
    this.#tree = tree
    this.#wallMs = wallMs
  }

  /** The answer given before, or the right to act. Throws `ApiError` when the key is in use. */
  async begin(facts: RequestFacts): Promise<KeptAnswer | Ticket> {
    const name = sha256(`${facts.caller}\n${facts.key}`)
    const digest = sha256(`${facts.line}\n${JSON.stringify(facts.body ?? null)}`)
    try {
      await this.#tree.ensure()
      for (const daysBack of [0, 1]) {
        const path = this.#tree.path('requests', this.#day(daysBack), name)
        const kept = await this.#kept(path, digest)
        if (kept !== undefined) return kept
      }
      return await this.#open(name, digest)
    } catch (error) {
      throw fromCoordinator(error, false)
    }
  }

  /** Days that no retry can name any more. */
  async expire(): Promise<void> {
    const oldest = this.#day(1)
    for (const day of await this.#coordinator.children(this.#tree.path('requests'))) {
      if (day >= oldest) continue
      const path = this.#tree.path('requests', day)
      for (const name of await this.#coordinator.children(path))
        await this.#coordinator.remove(`${path}/${name}`)
      await this.#coordinator.remove(path)
    }
  }

  #day(daysBack: number): string {
    return new Date(this.#wallMs() - daysBack * KEPT_MS).toISOString().slice(0, 10)
  }

  async #kept(path: string, digest: string): Promise<KeptAnswer | undefined> {
    let stored: StoredRequest
    let stat: FolderNode['stat']
    try {
      const found = await this.#coordinator.get(path)
      stored = JSON.parse(found.data.toString('utf8')) as StoredRequest
      stat = found.stat
    } catch (error) {
      if (isCode(error, 'no-node')) return undefined
      throw error
    }
    const ageMs = this.#wallMs() - stored.atMs
    if (ageMs > KEPT_MS) return undefined
    if (stored.digest !== digest)
      throw new ApiError('idempotency-conflict', 'this key came with another request before')
    const { status, headers = {}, body, table } = stored
    if (status === undefined) {
      if (ageMs < RUNNING_MS_MAX)
        throw new ApiError('idempotency-conflict', 'the first request with this key still runs')
      throw new ApiError(
        'outcome-unknown',
        'the first request with this key did not end: look first',
      )
    }
    const node =
      table === undefined
        ? undefined
        : { name: table.name, text: table.text, stat: { ...stat, version: table.version } }
    return { status, headers, body, node }
  }

  async #open(name: string, digest: string): Promise<Ticket> {
    const folder = this.#tree.path('requests', this.#day(0))
    const path = `${folder}/${name}`
    const started: StoredRequest = { digest, atMs: this.#wallMs() }
    await createIfAbsent(this.#coordinator, folder, Buffer.alloc(0))
    try {
      await this.#coordinator.create(path, encode(started))
    } catch (error) {
      if (!isCode(error, 'node-exists')) throw error
      throw new ApiError('idempotency-conflict', 'the first request with this key still runs')
    }
    return {
      completion: (status, table) => ({
        type: 'set',
        path,
        data: encode({ ...started, status, ...(table === undefined ? {} : { table }) }),
      }),
      complete: async ({ status, headers, body }) => {
        const kept = body.length <= BODY_BYTES_MAX ? { body } : {}
        await this.#coordinator.set(path, encode({ ...started, status, headers, ...kept }))
      },
      abandon: async () => {
        await this.#coordinator.remove(path).catch(() => undefined)
      },
    }
  }
}

function encode(stored: StoredRequest): Buffer {
  return Buffer.from(JSON.stringify(stored))
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
