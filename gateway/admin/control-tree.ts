/**
 * Where the admin API keeps its own state: `<control_root>`, beside the mapping nodes (gateway.md 3.6).
 *
 *     clusters/<name>   groups/<name>   gateways/<id>   epoch
 *     history/<table>/<seq>        the versions of a mapping, by number of their audit entry
 *     audit/head                   {"seq", "hash", "folder", "inFolder"}
 *     audit/anchor                 {"seq", "hash"}: the last entry that is no longer kept
 *     audit/<day>[.n]/<seq>        the entries, hash-chained
 *     users/<name>   tokens/<id>   sessions/<id>   secret, as far as ZooKeeper knows who asks
 *     requests/<day>/<key>   previews/<token>/<n>
 *     approvals/<id>/<n>           changes that wait for a second person (`approval-store.ts`)
 *     token-uses/<id>              modified when the token was used
 *     drains/<gateway>             an operator wants it left by its clients: {"actor", "at", …}
 *     questions/<place>/…          to all gateways, and their answers (`routing/fleet-questions.ts`)
 *     locks/<name>                 ephemeral: who does what only one gateway should do
 */
import {
  type Coordinator,
  CoordinatorError,
  type CreateOptions,
} from '../../cluster/coordinator/coordinator.ts'
import { noEntries } from './audit-chain.ts'

const folders = [
  'clusters',
  'groups',
  'gateways',
  'history',
  'audit',
  'requests',
  'previews',
  'approvals',
  'locks',
  'drains',
  'questions',
  'token-uses',
] as const
/** Hashes of passwords, tokens and cookies: for the identity that writes them alone. */
export const secretFolders = ['users', 'tokens', 'sessions'] as const

export class ControlTree {
  readonly root: string
  readonly #coordinator: Coordinator
  #isThere = false

  constructor(coordinator: Coordinator, root: string) {
    this.#coordinator = coordinator
    this.root = root
  }

  path(...parts: readonly string[]): string {
    return [this.root, ...parts].join('/')
  }

  /** Makes what is missing, once. Rejects with a `CoordinatorError`. */
  async ensure(): Promise<void> {
    if (this.#isThere) return
    await makePath(this.#coordinator, this.root)
    await Promise.all(folders.map((name) => makePath(this.#coordinator, this.path(name))))
    for (const name of secretFolders)
      await createIfAbsent(this.#coordinator, this.path(name), Buffer.alloc(0), { secret: true })
    await createIfAbsent(this.#coordinator, this.path('epoch'), Buffer.alloc(0))
    const head = Buffer.from(JSON.stringify(noEntries))
    await createIfAbsent(this.#coordinator, this.path('audit', 'head'), head)
    this.#isThere = true
  }

  /** After a `no-node` that should not be: somebody removed the tree. */
  forget(): void {
    this.#isThere = false
  }
}

export async function makePath(coordinator: Coordinator, path: string): Promise<void> {
  if (await createIfAbsent(coordinator, path, Buffer.alloc(0))) return
  const parts = path.split('/').slice(1)
  for (const depth of parts.keys())
    await createIfAbsent(coordinator, `/${parts.slice(0, depth + 1).join('/')}`, Buffer.alloc(0))
}

/** False when its parent is missing. */
export async function createIfAbsent(
  coordinator: Coordinator,
  path: string,
  data: Buffer,
  options: CreateOptions = {},
): Promise<boolean> {
  try {
    await coordinator.create(path, data, options)
  } catch (error) {
    if (isCode(error, 'no-node')) return false
    if (!isCode(error, 'node-exists')) throw error
  }
  return true
}

export function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof CoordinatorError && codes.includes(error.code)
}
