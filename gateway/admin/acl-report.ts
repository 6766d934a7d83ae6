/**
 * Which nodes anybody may change (gateway.md X-3): the Go proxy's tools and the table migrator make
 * nodes for the whole world, and a gateway set to close its nodes does not close old ones. Walks the
 * mapping nodes, then the control tree, in the order of their paths, a bounded part of it per page.
 * It also tells who else may read what only the control session should.
 */
import { type Coordinator, CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import { type AccessRule, Permission } from '../../cluster/coordinator/tree.ts'
import type { AclPage, AclQuery } from './api/acl.ts'
import { secretFolders } from './control-tree.ts'
import { ApiError } from './problem.ts'
import { othersIn } from './secret-nodes.ts'

const PAGE_NODES = 200
const PAGE_NODES_MAX = 500
/** The control tree is flat; deeper nodes are not ours. */
const DEPTH_MAX = 6
const READS_AT_ONCE = 32

interface Place {
  readonly path: string
  readonly kind: 'mapping' | 'control'
}

export class AclReport {
  readonly #coordinator: Coordinator
  readonly #roots: readonly (Place & { readonly depth: number })[]
  readonly #secretPaths: readonly string[]

  constructor(
    coordinator: Coordinator,
    at: { readonly root: string; readonly controlRoot: string },
  ) {
    this.#coordinator = coordinator
    this.#roots = [
      { path: at.root, kind: 'mapping', depth: 1 },
      { path: at.controlRoot, kind: 'control', depth: DEPTH_MAX },
    ]
    this.#secretPaths = secretFolders.map((name) => `${at.controlRoot}/${name}`)
  }

  /** Rejects with a `CoordinatorError` when ZooKeeper does not answer. */
  async page(query: AclQuery): Promise<AclPage> {
    const limit = Number(query.limit ?? PAGE_NODES)
    if (limit < 1 || limit > PAGE_NODES_MAX)
      throw new ApiError('bad-request', `limit ${query.limit}: expected 1 to ${PAGE_NODES_MAX}`)
    const places: Place[] = []
    let more = false
    for await (const place of this.#walk(this.#resume(query.cursor))) {
      if (places.length === limit) {
        more = true
        break
      }
      places.push(place)
    }
    const open: AclPage['open'] = []
    const secrets: AclPage['secrets'] = []
    const hidden: string[] = []
    let checked = 0
    for (let at = 0; at < places.length; at += READS_AT_ONCE) {
      const some = places.slice(at, at + READS_AT_ONCE)
      const lists = await Promise.all(some.map((place) => this.#list(place.path)))
      for (const [index, list] of lists.entries()) {
        const place = some[index]
        if (place === undefined || list === undefined) continue
        checked++
        if (list === 'hidden') hidden.push(place.path)
        else {
          const rights = worldRights(list)
          if (/[cdwa]/.test(rights)) open.push({ path: place.path, kind: place.kind, rights })
          const others = this.#isSecret(place) ? othersIn(list) : []
          if (others.length > 0) secrets.push({ path: place.path, others: [...others] })
        }
      }
    }
    const last = places.at(-1)
    return {
      open,
      secrets,
      hidden,
      checked,
      ...(more && last !== undefined ? { cursor: `${last.kind}:${last.path}` } : {}),
    }
  }

  #isSecret({ path }: Place): boolean {
    return this.#secretPaths.some((folder) => path === folder || path.startsWith(`${folder}/`))
  }

  #resume(cursor: string | undefined): { readonly root: number; readonly after: string } {
    if (cursor === undefined) return { root: 0, after: '' }
    const [, kind, after = ''] = /^(mapping|control):(\/.*)$/s.exec(cursor) ?? []
    const root = this.#roots.findIndex((one) => one.kind === kind)
    if (root < 0) throw new ApiError('bad-request', 'cursor: not one that this list gave')
    return { root, after }
  }

  /** Places behind the cursor, parents before children. */
  async *#walk(from: { readonly root: number; readonly after: string }): AsyncGenerator<Place> {
    for (const [index, { path, kind, depth }] of this.#roots.entries()) {
      if (index < from.root) continue
      yield* this.#below(path, kind, depth, index === from.root ? from.after : '')
    }
  }

  async *#below(
    path: string,
    kind: Place['kind'],
    depth: number,
    after: string,
  ): AsyncGenerator<Place> {
    if (isBehind(path, after)) yield { path, kind }
    else if (path !== after && !after.startsWith(`${path}/`)) return
    if (depth === 0) return
    for (const name of (await this.#children(path)).toSorted())
      yield* this.#below(`${path}/${name}`, kind, depth - 1, after)
  }

  async #children(path: string): Promise<readonly string[]> {
    try {
      return await this.#coordinator.children(path)
    } catch (error) {
      if (isCode(error, 'no-node') || isCode(error, 'no-auth')) return []
      throw error
    }
  }

  /** Undefined: gone, or never there. */
  async #list(path: string): Promise<readonly AccessRule[] | 'hidden' | undefined> {
    try {
      return await this.#coordinator.acl(path)
    } catch (error) {
      if (isCode(error, 'no-node')) return undefined
      if (isCode(error, 'no-auth')) return 'hidden'
      throw error
    }
  }
}

/** Behind in the order of the walk: segment by segment, parents first. */
function isBehind(path: string, after: string): boolean {
  if (after === '') return true
  const [here, there] = [path.split('/'), after.split('/')]
  for (const [at, segment] of here.entries()) {
    const other = there[at]
    if (other === undefined) return true
    if (segment !== other) return segment > other
  }
  return false
}

function isCode(error: unknown, code: CoordinatorError['code']): boolean {
  return error instanceof CoordinatorError && error.code === code
}

const letters: readonly (readonly [permission: number, letter: string])[] = [
  [Permission.CREATE, 'c'],
  [Permission.DELETE, 'd'],
  [Permission.READ, 'r'],
  [Permission.WRITE, 'w'],
  [Permission.ADMIN, 'a'],
]

function worldRights(list: readonly AccessRule[]): string {
  let permissions = 0
  for (const rule of list)
    if (rule.scheme === 'world' && rule.id === 'anyone') permissions |= rule.permissions
  return letters
    .filter(([permission]) => (permissions & permission) !== 0)
    .map(([, letter]) => letter)
    .join('')
}
