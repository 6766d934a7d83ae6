/**
 * Sessions of the page: `sessions/<sha256 of the cookie>` in the control tree, watched, so that a
 * log-out counts at every gateway within milliseconds and a log-in at one is good at all. Neither the
 * cookie nor the CSRF token can be made from what is stored: the token is derived from the cookie.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { Grant } from './api/access.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import { ApiError, fromCoordinator } from './problem.ts'
import { WatchedFolder } from './watched-folder.ts'

export interface Session {
  readonly name: string
  readonly via: 'local' | 'oidc'
  /** Of an identity provider's user; a local user's are looked up. */
  readonly grants: readonly Grant[]
  readonly createdAtMs: number
  readonly expiresAtMs: number
}

const SESSIONS_MAX = 10_000

export class Sessions {
  readonly #runtime: Runtime
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #livesMs: number
  readonly #folder: WatchedFolder

  constructor(
    parts: {
      readonly runtime: Runtime
      readonly coordinator: Coordinator
      readonly tree: ControlTree
    },
    livesMs: number,
  ) {
    this.#runtime = parts.runtime
    this.#coordinator = parts.coordinator
    this.#tree = parts.tree
    this.#livesMs = livesMs
    this.#folder = new WatchedFolder(parts.runtime, parts.coordinator, {
      path: parts.tree.path('sessions'),
    })
  }

  loaded(): Promise<void> {
    return this.#folder.loaded()
  }

  /** Resolves to the cookie's value. */
  async open(
    session: Pick<Session, 'name' | 'via' | 'grants'>,
  ): Promise<{ readonly cookie: string; readonly session: Session }> {
    const cookie = randomBytes(32).toString('base64url')
    const createdAtMs = Math.floor(this.#runtime.clock.wallMs())
    const opened = { ...session, createdAtMs, expiresAtMs: createdAtMs + this.#livesMs }
    const id = sha256(cookie)
    try {
      await this.#tree.ensure()
      const all = await this.#coordinator.children(this.#tree.path('sessions'))
      if (all.length >= SESSIONS_MAX) throw new ApiError('busy', 'too many are logged in')
      const data = Buffer.from(JSON.stringify(opened))
      await this.#coordinator.create(this.#tree.path('sessions', id), data, { secret: true })
      await this.#folder.refresh(id)
    } catch (error) {
      throw fromCoordinator(error, true)
    }
    return { cookie, session: opened }
  }

  find(cookie: string): Session | undefined {
    const node = this.#folder.get(sha256(cookie))
    if (node === undefined) return undefined
    const session = JSON.parse(node.text) as Session
    return session.expiresAtMs > this.#runtime.clock.wallMs() ? session : undefined
  }

  async end(cookie: string): Promise<void> {
    const id = sha256(cookie)
    try {
      await this.#coordinator.remove(this.#tree.path('sessions', id))
    } catch (error) {
      if (!isCode(error, 'no-node')) throw fromCoordinator(error, true)
    }
    await this.#folder.refresh(id).catch(() => undefined)
  }

  /** All of one user, but the one with this cookie: his password has changed. */
  async endAllOf(name: string, except: string | undefined): Promise<void> {
    const kept = except === undefined ? '' : sha256(except)
    for (const { name: id, text } of [...this.#folder.nodes()])
      if (id !== kept && (JSON.parse(text) as Session).name === name)
        await this.#coordinator.remove(this.#tree.path('sessions', id)).catch(() => undefined)
  }

  async expire(): Promise<void> {
    const nowMs = this.#runtime.clock.wallMs()
    for (const { name, text } of [...this.#folder.nodes()])
      if ((JSON.parse(text) as Session).expiresAtMs <= nowMs)
        await this.#coordinator.remove(this.#tree.path('sessions', name)).catch(() => undefined)
  }

  close(): void {
    this.#folder.close()
  }
}

export function csrfTokenOf(cookie: string): string {
  return createHmac('sha256', cookie).update('csrf').digest('base64url')
}

export function isCsrfToken(cookie: string, token: unknown): boolean {
  const expected = Buffer.from(csrfTokenOf(cookie))
  const found = Buffer.from(typeof token === 'string' ? token : '')
  return expected.length === found.length && timingSafeEqual(expected, found)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
