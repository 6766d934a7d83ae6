/**
 * When each token was last used: `token-uses/<id>` of the control tree, beside the token so that its
 * version stays. Written at most once a minute for a token in the whole fleet, as well as can be: no
 * request waits for it, and it is in no audit.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import { WatchedFolder } from './watched-folder.ts'

const EVERY_MS = 60_000

export class TokenUses {
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #wallMs: () => number
  readonly #folder: WatchedFolder
  /** By token: when this process wrote last, or tried to. */
  readonly #writtenAtMs = new Map<string, number>()

  constructor(parts: {
    readonly runtime: Runtime
    readonly coordinator: Coordinator
    readonly tree: ControlTree
  }) {
    this.#log = parts.runtime.log.child({ part: 'tokens' })
    this.#coordinator = parts.coordinator
    this.#tree = parts.tree
    this.#wallMs = () => parts.runtime.clock.wallMs()
    this.#folder = new WatchedFolder(parts.runtime, parts.coordinator, {
      path: parts.tree.path('token-uses'),
    })
  }

  /** To the minute; undefined when it was never used. */
  lastUsedAt(id: string): string | undefined {
    const atMs = this.#folder.get(id)?.stat.modifiedWallMs
    return atMs === undefined ? undefined : new Date(atMs).toISOString()
  }

  /** Of a token that is there. */
  used(id: string): void {
    const nowMs = this.#wallMs()
    const known = this.#folder.get(id)?.stat.modifiedWallMs ?? 0
    const lastMs = Math.max(known, this.#writtenAtMs.get(id) ?? 0)
    // A clock that was set back writes now rather than much later.
    if (lastMs <= nowMs && nowMs - lastMs < EVERY_MS) return
    this.#writtenAtMs.set(id, nowMs)
    this.#write(id).catch((error: unknown) => this.#log.debug('use not kept', { id, error }))
  }

  async #write(id: string): Promise<void> {
    const path = this.#tree.path('token-uses', id)
    try {
      await this.#coordinator.set(path, Buffer.alloc(0))
    } catch (error) {
      if (!isCode(error, 'no-node')) throw error
      await this.#tree.ensure()
      await this.#coordinator.create(path, Buffer.alloc(0))
    }
  }

  /** The token has gone. */
  forget(id: string): void {
    this.#writtenAtMs.delete(id)
    this.#coordinator.remove(this.#tree.path('token-uses', id)).catch(() => undefined)
  }

  /** What is left of tokens that are not there: written by another gateway at that moment. */
  tidy(isToken: (id: string) => boolean): void {
    for (const { name } of this.#folder.nodes()) if (!isToken(name)) this.forget(name)
  }

  close(): void {
    this.#folder.close()
  }
}
