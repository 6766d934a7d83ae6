/**
 * The data tree of ZooKeeper as a value in memory: nodes with versions, owners, access lists and
 * child counters, changed by transactions in one order (the zxid). Shared by the coordination in
 * memory and by the embedded server. It knows no sessions, watches, clock or files: who owns an
 * ephemeral node is only a number here, and the time comes with each transaction.
 *
 * Semantics: ZooKeeper 3.8. The counter of sequential names is the number of children that were
 * ever created below the parent; the children version shown is creations plus removals.
 */
import { createHash } from 'node:crypto'
import type { NodeStat } from './coordinator.ts'

export type TreeErrorCode =
  | 'no-node'
  | 'node-exists'
  | 'bad-version'
  | 'not-empty'
  | 'no-children-for-ephemerals'
  | 'bad-arguments'
  | 'no-auth'

/** Bits of `AccessRule.permissions`. */
export const Permission = { READ: 1, WRITE: 2, CREATE: 4, DELETE: 8, ADMIN: 16, ALL: 31 } as const

export interface AccessRule {
  readonly permissions: number
  readonly scheme: string
  readonly id: string
}

/** Who asks: every identity that the connection has proved. */
export type Identities = readonly { readonly scheme: string; readonly id: string }[]

export const openAccess: readonly AccessRule[] = [
  { permissions: Permission.ALL, scheme: 'world', id: 'anyone' },
]

/** `user:password` → the identity that access lists hold: `user:base64(sha1(user:password))`. */
export function digestIdentity(credentials: Buffer): { scheme: string; id: string } {
  const user = credentials.toString('utf8').split(':')[0] ?? ''
  const hash = createHash('sha1').update(credentials).digest('base64')
  return { scheme: 'digest', id: `${user}:${hash}` }
}

export type TreeRequest =
  | {
      readonly type: 'create'
      readonly path: string
      readonly data: Buffer
      readonly access: readonly AccessRule[]
      /** 0n for a persistent node. */
      readonly owner: bigint
      readonly sequential: boolean
    }
  /** `version` -1 matches every version. */
  | {
      readonly type: 'set'
      readonly path: string
      readonly data: Buffer
      readonly version: number
    }
  | { readonly type: 'remove'; readonly path: string; readonly version: number }
  | { readonly type: 'check'; readonly path: string; readonly version: number }
  | {
      readonly type: 'set-access'
      readonly path: string
      readonly access: readonly AccessRule[]
      readonly version: number
    }

/** A request after its checks, with nothing left to decide: what a log replays. */
export type TreeChange =
  | {
      readonly type: 'create'
      readonly path: string
      readonly data: Buffer
      readonly access: readonly AccessRule[]
      readonly owner: bigint
    }
  | { readonly type: 'set'; readonly path: string; readonly data: Buffer }
  | { readonly type: 'remove'; readonly path: string }
  | { readonly type: 'set-access'; readonly path: string; readonly access: readonly AccessRule[] }

export interface TreeEvent {
  readonly type: 'created' | 'deleted' | 'changed' | 'children'
  readonly path: string
}

export interface TreeNode {
  data: Buffer
  access: readonly AccessRule[]
  readonly owner: bigint
  readonly createdZxid: bigint
  modifiedZxid: bigint
  childrenZxid: bigint
  readonly createdWallMs: number
  modifiedWallMs: number
  version: number
  accessVersion: number
  /** Children ever created: the counter of sequential names. */
  childrenCreated: number
  readonly children: Set<string>
}

export interface TransactionTime {
  readonly zxid: bigint
  readonly wallMs: number
}

export type TransactionOutcome =
  | {
      readonly ok: true
      readonly changes: readonly TreeChange[]
      readonly events: readonly TreeEvent[]
      /** One per request: the path concerned, with its counter when it was sequential. */
      readonly paths: readonly string[]
    }
  | { readonly ok: false; readonly failedIndex: number; readonly code: TreeErrorCode }

export class Tree {
  readonly #nodes = new Map<string, TreeNode>()
  readonly #owned = new Map<bigint, Set<string>>()

  constructor() {
    this.#nodes.set('/', newNode(Buffer.alloc(0), openAccess, 0n, { zxid: 0n, wallMs: 0 }))
  }

  node(path: string): Readonly<TreeNode> | undefined {
    return this.#nodes.get(path)
  }

  /** Paths of the ephemeral nodes of a session, in order of creation. */
  ownedBy(owner: bigint): readonly string[] {
    return [...(this.#owned.get(owner) ?? [])]
  }

  /** Every node, parents before children. */
  entries(): IterableIterator<[string, Readonly<TreeNode>]> {
    return this.#nodes.entries()
  }

  nodeCount(): number {
    return this.#nodes.size
  }

  /** For reading a snapshot: the parent must be there already, except for the root. */
  restoreNode(path: string, node: TreeNode): void {
    this.#nodes.set(path, node)
    if (path !== '/') this.#nodes.get(parentOf(path))?.children.add(nameOf(path))
    if (node.owner !== 0n) this.#own(node.owner, path)
  }

  /** All requests or none; later requests see what earlier ones did. */
  transact(
    requests: readonly TreeRequest[],
    identities: Identities,
    time: TransactionTime,
  ): TransactionOutcome {
    const changes: TreeChange[] = []
    const events: TreeEvent[] = []
    const paths: string[] = []
    const undo: (() => void)[] = []
    for (const [index, request] of requests.entries()) {
      const resolved = this.#resolve(request, identities)
      if (typeof resolved === 'string') {
        for (const revert of undo.toReversed()) revert()
        return { ok: false, failedIndex: index, code: resolved }
      }
      paths.push(resolved.path)
      if (resolved.change === undefined) continue
      changes.push(resolved.change)
      undo.push(this.apply(resolved.change, time, events))
    }
    return { ok: true, changes, events, paths }
  }

  /** Carries out a resolved change, adds its events, and returns what takes it back. */
  apply(change: TreeChange, time: TransactionTime, events: TreeEvent[]): () => void {
    switch (change.type) {
      case 'create':
        return this.#create(change, time, events)
      case 'remove':
        return this.#remove(change.path, time, events)
      case 'set': {
        const node = this.#existing(change.path)
        const { data, modifiedZxid, modifiedWallMs, version } = node
        node.data = change.data
        node.modifiedZxid = time.zxid
        node.modifiedWallMs = time.wallMs
        node.version += 1
        events.push({ type: 'changed', path: change.path })
        return () => Object.assign(node, { data, modifiedZxid, modifiedWallMs, version })
      }
      case 'set-access': {
        const node = this.#existing(change.path)
        const { access, accessVersion } = node
        node.access = change.access
        node.accessVersion += 1
        return () => Object.assign(node, { access, accessVersion })
      }
    }
  }

  /** `undefined` when allowed. */
  mayRead(path: string, identities: Identities): TreeErrorCode | undefined {
    const node = this.#nodes.get(path)
    if (node === undefined) return 'no-node'
    return allows(node, Permission.READ, identities) ? undefined : 'no-auth'
  }

  #resolve(
    request: TreeRequest,
    identities: Identities,
  ): { readonly path: string; readonly change: TreeChange | undefined } | TreeErrorCode {
    const { path } = request
    if (request.type === 'create') return this.#resolveCreate(request, identities)
    if (!isPath(path)) return 'bad-arguments'
    const node = this.#nodes.get(path)
    if (node === undefined) return 'no-node'
    const version = request.type === 'set-access' ? node.accessVersion : node.version
    const needed = neededPermission[request.type]
    const guard = request.type === 'remove' && path !== '/' ? this.#existing(parentOf(path)) : node
    if (!allows(guard, needed, identities)) return 'no-auth'
    if (request.version !== -1 && request.version !== version) return 'bad-version'
    switch (request.type) {
      case 'check':
        return { path, change: undefined }
      case 'set':
        return { path, change: { type: 'set', path, data: request.data } }
      case 'set-access':
        return { path, change: { type: 'set-access', path, access: request.access } }
      case 'remove':
        if (path === '/') return 'bad-arguments'
        if (node.children.size > 0) return 'not-empty'
        return { path, change: { type: 'remove', path } }
    }
  }

  #resolveCreate(
    request: Extract<TreeRequest, { type: 'create' }>,
    identities: Identities,
  ): { readonly path: string; readonly change: TreeChange } | TreeErrorCode {
    // A sequential name may be empty before its counter: `/parent/` makes `/parent/0000000000`.
    const probe = request.sequential ? `${request.path}0` : request.path
    if (!isPath(probe)) return 'bad-arguments'
    if (probe === '/') return 'node-exists'
    const parent = this.#nodes.get(parentOf(probe))
    if (parent === undefined) return 'no-node'
    if (!allows(parent, Permission.CREATE, identities)) return 'no-auth'
    const path = request.sequential
      ? request.path + String(parent.childrenCreated).padStart(10, '0')
      : request.path
    if (this.#nodes.has(path)) return 'node-exists'
    if (parent.owner !== 0n) return 'no-children-for-ephemerals'
    const { data, access, owner } = request
    return { path, change: { type: 'create', path, data, access, owner } }
  }

  #create(
    change: Extract<TreeChange, { type: 'create' }>,
    time: TransactionTime,
    events: TreeEvent[],
  ): () => void {
    const { path, owner } = change
    const parent = this.#existing(parentOf(path))
    const { childrenZxid } = parent
    this.#nodes.set(path, newNode(change.data, change.access, owner, time))
    parent.children.add(nameOf(path))
    parent.childrenCreated += 1
    parent.childrenZxid = time.zxid
    if (owner !== 0n) this.#own(owner, path)
    events.push({ type: 'created', path }, { type: 'children', path: parentOf(path) })
    return () => {
      this.#nodes.delete(path)
      parent.children.delete(nameOf(path))
      parent.childrenCreated -= 1
      parent.childrenZxid = childrenZxid
      this.#disown(owner, path)
    }
  }

  #remove(path: string, time: TransactionTime, events: TreeEvent[]): () => void {
    const node = this.#existing(path)
    const parent = this.#existing(parentOf(path))
    const { childrenZxid } = parent
    this.#nodes.delete(path)
    parent.children.delete(nameOf(path))
    parent.childrenZxid = time.zxid
    this.#disown(node.owner, path)
    events.push({ type: 'deleted', path }, { type: 'children', path: parentOf(path) })
    return () => {
      this.#nodes.set(path, node)
      parent.children.add(nameOf(path))
      parent.childrenZxid = childrenZxid
      if (node.owner !== 0n) this.#own(node.owner, path)
    }
  }

  #existing(path: string): TreeNode {
    const node = this.#nodes.get(path)
    if (node === undefined) throw new Error(`broken tree: ${path} is missing`)
    return node
  }

  #own(owner: bigint, path: string): void {
    const paths = this.#owned.get(owner)
    if (paths === undefined) this.#owned.set(owner, new Set([path]))
    else paths.add(path)
  }

  #disown(owner: bigint, path: string): void {
    const paths = this.#owned.get(owner)
    if (paths?.delete(path) === true && paths.size === 0) this.#owned.delete(owner)
  }
}

const neededPermission = {
  set: Permission.WRITE,
  'set-access': Permission.ADMIN,
  check: Permission.READ,
  remove: Permission.DELETE,
} as const

function newNode(
  data: Buffer,
  access: readonly AccessRule[],
  owner: bigint,
  { zxid, wallMs }: TransactionTime,
): TreeNode {
  return {
    data,
    access,
    owner,
    createdZxid: zxid,
    modifiedZxid: zxid,
    childrenZxid: zxid,
    createdWallMs: wallMs,
    modifiedWallMs: wallMs,
    version: 0,
    accessVersion: 0,
    childrenCreated: 0,
    children: new Set(),
  }
}

export function allows(
  node: Readonly<TreeNode>,
  permission: number,
  identities: Identities,
): boolean {
  return node.access.some(
    (rule) =>
      (rule.permissions & permission) !== 0 &&
      ((rule.scheme === 'world' && rule.id === 'anyone') ||
        identities.some(({ scheme, id }) => scheme === rule.scheme && id === rule.id)),
  )
}

export function childrenVersionOf(node: Readonly<TreeNode>): number {
  return node.childrenCreated * 2 - node.children.size
}

export function statOf(node: Readonly<TreeNode>): NodeStat {
  return {
    version: node.version,
    childrenVersion: childrenVersionOf(node),
    createdZxid: node.createdZxid,
    modifiedZxid: node.modifiedZxid,
    createdWallMs: node.createdWallMs,
    modifiedWallMs: node.modifiedWallMs,
    ephemeralOwner: node.owner,
    childrenCount: node.children.size,
    dataSizeBytes: node.data.length,
  }
}

/** `/a/b` without empty, `.` or `..` parts and without control characters; `/` is the root. */
export function isPath(path: string): boolean {
  if (path === '/') return true
  if (!path.startsWith('/') || path.endsWith('/')) return false
  for (const name of path.slice(1).split('/'))
    if (name === '' || name === '.' || name === '..' || hasControlCharacter(name)) return false
  return true
}

function hasControlCharacter(name: string): boolean {
  for (let index = 0; index < name.length; index += 1) {
    const code = name.charCodeAt(index)
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return true
    if ((code >= 0xd800 && code <= 0xf8ff) || code >= 0xfff0) return true
  }
  return false
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash <= 0 ? '/' : path.slice(0, slash)
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
