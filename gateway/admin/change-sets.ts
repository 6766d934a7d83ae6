/**
 * Previews of many changes (`api/changes.ts`), kept in the control tree so that any gateway can carry
 * them out: `previews/<token>` with what it is, `previews/<token>/<n>` with its items in lists below
 * ZooKeeper's limit. A preview says what each node would hold and which version of it was seen; what
 * changed since then is skipped.
 */
import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { ChangeItem, ChangeKind, ChangeSet } from './api/changes.ts'
import { changeKinds } from './api/changes.ts'
import type { FieldError } from './api/problem.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import { piecesOf, readPieces, removeWithPieces } from './item-pieces.ts'
import { ApiError, asApiError, fromCoordinator } from './problem.ts'
import type { TableView } from './table-view.ts'

/** What is wanted of one table. `text: null` deletes it. */
export interface Wanted {
  readonly name: string
  readonly line?: number
  readonly current: TableView | undefined
  /** Gives the new text, or throws an `ApiError`. */
  readonly make: () => string | null
  readonly thaws?: boolean
  /** Throws when the caller may not. */
  readonly demand: (text: string | null) => void
}

export interface StoredItem {
  readonly name: string
  /** Of the version that was seen; absent: there was none. */
  readonly etag?: string
  readonly text: string | null
  readonly thaws?: boolean
}

interface StoredSet {
  readonly origin: string
  readonly owner: string
  readonly expiresAtMs: number
  readonly pieces: number
  readonly registry?: RegistryChange
}

/** Of `:replace-meta`: the cluster's registry entry changes too. */
export interface RegistryChange {
  readonly cluster: string
  readonly etag: string
  readonly metas: readonly string[]
}

export interface LoadedSet {
  readonly origin: string
  readonly items: readonly StoredItem[]
  readonly registry?: RegistryChange
}

const LIVES_MS = 15 * 60_000
const SETS_MAX = 100

export class ChangeSets {
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #wallMs: () => number

  constructor(coordinator: Coordinator, tree: ControlTree, wallMs: () => number) {
    this.#coordinator = coordinator
    this.#tree = tree
    this.#wallMs = wallMs
  }

  /** Stores what is to be done and shows it. */
  async make(
    origin: string,
    owner: string,
    wanted: AsyncIterable<Wanted | ChangeItem> | Iterable<Wanted | ChangeItem>,
    registry?: RegistryChange,
  ): Promise<ChangeSet> {
    const items: ChangeItem[] = []
    const stored: StoredItem[] = []
    for await (const one of wanted) {
      const item = 'kind' in one ? one : examine(one)
      items.push(item)
      if ('kind' in one || item.kind === 'same' || item.kind === 'invalid') continue
      stored.push({
        name: one.name,
        ...(one.current === undefined ? {} : { etag: one.current.table.etag }),
        text: item.after ?? null,
        ...(one.thaws === true ? { thaws: true } : {}),
      })
    }
    const expiresAtMs = this.#wallMs() + LIVES_MS
    const token = randomBytes(18).toString('base64url')
    await this.#store(token, { origin, owner, expiresAtMs, registry }, stored)
    const count = (kind: ChangeKind): number => items.filter((item) => item.kind === kind).length
    const [create, change, gone, same, bad] = changeKinds.map(count)
    return {
      token,
      expiresAt: new Date(expiresAtMs).toISOString(),
      origin,
      counts: {
        create: create ?? 0,
        change: change ?? 0,
        delete: gone ?? 0,
        same: same ?? 0,
        invalid: bad ?? 0,
      },
      items,
    }
  }

  /** Takes the preview away: it can be carried out once, by the one who made it. */
  async take(token: string, caller: string): Promise<LoadedSet> {
    const gone = new ApiError('preview-expired', 'the preview is unknown, was used or is too old')
    if (!/^[A-Za-z0-9_-]{24}$/.test(token)) throw gone
    const path = this.#tree.path('previews', token)
    try {
      const { data, stat } = await this.#coordinator.get(path)
      const set = JSON.parse(data.toString('utf8')) as StoredSet
      if (set.owner !== caller || set.expiresAtMs < this.#wallMs()) throw gone
      const items = (await readPieces(this.#coordinator, path, set.pieces)) as StoredItem[]
      const taken = Buffer.from(JSON.stringify({ ...set, owner: '' }))
      await this.#coordinator.set(path, taken, stat.version)
      await this.#remove(token).catch(() => undefined)
      const { origin, registry } = set
      return { origin, items, ...(registry === undefined ? {} : { registry }) }
    } catch (error) {
      if (isCode(error, 'no-node', 'bad-version')) throw gone
      throw fromCoordinator(error, false)
    }
  }

  /** Those that nobody carried out. */
  async expire(): Promise<void> {
    for (const token of await this.#coordinator.children(this.#tree.path('previews'))) {
      const { data } = await this.#coordinator.get(this.#tree.path('previews', token))
      const { expiresAtMs } = JSON.parse(data.toString('utf8')) as StoredSet
      if (expiresAtMs < this.#wallMs()) await this.#remove(token)
    }
  }

  async #store(
    token: string,
    set: Omit<StoredSet, 'pieces' | 'registry'> & { readonly registry: RegistryChange | undefined },
    items: readonly StoredItem[],
  ): Promise<void> {
    const path = this.#tree.path('previews', token)
    try {
      await this.#tree.ensure()
      const others = await this.#coordinator.children(this.#tree.path('previews'))
      if (others.length >= SETS_MAX) await this.expire()
      if (others.length >= SETS_MAX * 2) throw new ApiError('busy', 'too many previews are open')
      // Nobody has the token before its pieces are there.
      await this.#coordinator.create(path, encode({ ...set, pieces: 0 }))
      let pieces = 0
      for (const piece of piecesOf(items))
        await this.#coordinator.create(`${path}/${pieces++}`, piece)
      await this.#coordinator.set(path, encode({ ...set, pieces }))
    } catch (error) {
      throw fromCoordinator(error, false)
    }
  }

  #remove(token: string): Promise<void> {
    return removeWithPieces(this.#coordinator, this.#tree.path('previews', token))
  }
}

function encode(set: object): Buffer {
  return Buffer.from(JSON.stringify(set))
}

function examine({ name, line, current, make, thaws, demand }: Wanted): ChangeItem {
  const before = current?.node.text
  const facts = { name, ...(line === undefined ? {} : { line }) }
  const seen = before === undefined ? {} : { before }
  const invalid = (errors: readonly FieldError[]): ChangeItem => ({
    kind: 'invalid',
    ...facts,
    ...seen,
    errors: [...errors],
  })
  let after: string | null
  try {
    after = make()
    if (after === null && before === undefined) return { kind: 'same', ...facts }
    if (after !== null && before !== undefined && saysTheSame(before, after))
      return { kind: 'same', ...facts, before, after: before }
    demand(after)
  } catch (error) {
    const { facts: why, message } = asApiError(error)
    return invalid(why.errors ?? [{ field: '', message }])
  }
  if (current?.mapping?.frozen === true && thaws !== true)
    return invalid([{ field: 'frozen', message: 'the table is frozen: thaw it first' }])
  if (after === null) return { kind: 'delete', ...facts, ...seen }
  return { kind: before === undefined ? 'create' : 'change', ...facts, ...seen, after }
}

/** Other blanks or another order of keys are no change. */
function saysTheSame(before: string, after: string): boolean {
  if (before === after) return true
  try {
    return isDeepStrictEqual(JSON.parse(before), JSON.parse(after))
  } catch {
    return false
  }
}
