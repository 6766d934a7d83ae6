/**
 * Creating, changing and deleting mappings (gateway.md 14, H-1 and H-2): reads what is there, compares
 * it with what the author saw, and writes all changes of a call as one transaction of the journal. The
 * node's version goes into it, so a change by another tool in between is noticed too.
 */
import type { Coordinator, CoordinatorOperation } from '../../cluster/coordinator/coordinator.ts'
import { type Mapping, isTableName, parseMapping } from '../routing/mapping.ts'
import type { ChangeAuthor } from './api/problem.ts'
import type { Table, TableEdit, TablePatch } from './api/tables.ts'
import { type ControlTree, isCode, makePath } from './control-tree.ts'
import { type Author, type EntryDraft, type Journal, changeAuthor } from './journal.ts'
import { ApiError, badField, fromCoordinator } from './problem.ts'
import { type Caller, demand } from './rights.ts'
import type { StoredVersion, TableHistories } from './table-history.ts'
import type { TableMirror } from './table-mirror.ts'
import { type ValueRules, checkedText, textOfEdit, textOfPatch, thaws } from './table-values.ts'
import { type TableView, viewOf } from './table-view.ts'

export interface Precondition {
  readonly ifMatch?: string | undefined
  readonly ifNoneMatch?: string | undefined
}

/** `text: null` deletes. `revert` takes a version of the history, `exact` writes this very text. */
export type TableWish =
  | { readonly kind: 'put'; readonly edit: TableEdit }
  | { readonly kind: 'patch'; readonly patch: TablePatch }
  | { readonly kind: 'delete' }
  | { readonly kind: 'revert'; readonly to: number; readonly side: 'before' | 'after' }
  | {
      readonly kind: 'exact'
      readonly text: string
      readonly action: string
      readonly thaws?: boolean
    }

export interface TableChangeRequest {
  readonly name: string
  readonly wish: TableWish
  readonly precondition: Precondition
}

/** What a request comes to, on what is there now. */
export interface DecidedChange {
  readonly name: string
  readonly action: string
  readonly before: TableView | undefined
  /** null: the node goes. */
  readonly text: string | null
}

export interface EditParts {
  readonly coordinator: Coordinator
  readonly tree: ControlTree
  readonly root: string
  readonly rules: ValueRules
  readonly mirror: TableMirror
  readonly journal: Journal
  readonly histories: TableHistories
}

/** Adds operations to the transaction of a change: the record of its idempotency key. */
export type Rider = (changes: readonly DecidedChange[]) => readonly CoordinatorOperation[]

export class TableEdits {
  readonly #parts: EditParts

  constructor(parts: EditParts) {
    this.#parts = parts
  }

  get rules(): ValueRules {
    return this.#parts.rules
  }

  /** The node as it is in ZooKeeper now. */
  async read(name: string): Promise<TableView | undefined> {
    const path = `${this.#parts.root}/${checkedName(name)}`
    try {
      const { data, stat } = await this.#parts.coordinator.get(path)
      return viewOf({ name, text: data.toString('utf8'), stat }, this.#parts.mirror.context)
    } catch (error) {
      if (isCode(error, 'no-node')) return undefined
      throw fromCoordinator(error, false)
    }
  }

  mappingOf(text: string): Mapping | undefined {
    const parsed = parseMapping(Buffer.from(text))
    return parsed.ok ? parsed.value : undefined
  }

  /** Every check, no effect. */
  async decide(caller: Caller, request: TableChangeRequest): Promise<DecidedChange> {
    const { name, wish, precondition } = request
    const before = await this.read(name)
    await this.#compare(name, before, precondition)
    const text = await this.#wanted(name, wish, before)
    this.demand(caller, name, before, text)
    if (before?.mapping?.frozen === true && !isThawing(wish)) throw frozen(before.table)
    const action =
      wish.kind === 'revert'
        ? 'revert'
        : wish.kind === 'exact'
          ? wish.action
          : text === null
            ? 'delete'
            : before === undefined
              ? 'create'
              : 'change'
    return { name, action, before, text }
  }

  /** All or nothing. Resolves to what is there now, in the order of the requests. */
  async apply(
    caller: Caller,
    author: Author,
    requests: readonly TableChangeRequest[],
    rider: Rider = () => [],
  ): Promise<readonly (TableView | undefined)[]> {
    const { journal, coordinator, root } = this.#parts
    if (new Set(requests.map(({ name }) => name)).size < requests.length)
      throw badField('changes', 'a table is named twice')
    let decided: readonly DecidedChange[] = []
    const entries = await journal.commit(author, async (firstSeq, at) => {
      decided = await Promise.all(requests.map((request) => this.decide(caller, request)))
      if (decided.some(({ before }) => before === undefined)) await makePath(coordinator, root)
      const operations = await Promise.all(
        decided.map((change, index) =>
          this.#operations(changeAuthor({ ...author, at }), change, firstSeq + index),
        ),
      )
      return {
        operations: [...operations.flat(), ...rider(decided)],
        entries: decided.map(draftOf),
        raisesEpoch: true,
      }
    })
    const at = entries[0]?.entry.at ?? ''
    return Promise.all(
      requests.map(({ name }) => this.#show(name, changeAuthor({ ...author, at }))),
    )
  }

  async #show(name: string, changedBy: ChangeAuthor): Promise<TableView | undefined> {
    const { mirror } = this.#parts
    try {
      const view = await mirror.refresh(name)
      if (view !== undefined) mirror.attribute(name, view.node.stat.modifiedZxid, changedBy)
    } catch {
      // It has happened; the mirror learns of it when ZooKeeper answers again.
    }
    return mirror.get(name)
  }

  async #operations(
    changedBy: ChangeAuthor,
    { name, action, before, text }: DecidedChange,
    seq: number,
  ): Promise<readonly CoordinatorOperation[]> {
    const path = `${this.#parts.root}/${name}`
    const version: StoredVersion = {
      ...changedBy,
      action,
      before: before?.node.text ?? null,
      after: text,
      ...(text === null ? {} : { nodeVersion: (before?.node.stat.version ?? -1) + 1 }),
    }
    const { histories } = this.#parts
    const history = histories.append(name, seq, version, await histories.names(name))
    if (before === undefined)
      return text === null ? [] : [{ type: 'create', path, data: Buffer.from(text) }, ...history]
    const seen = before.node.stat.version
    return text === null
      ? [{ type: 'remove', path, version: seen }, ...history]
      : [{ type: 'set', path, data: Buffer.from(text), version: seen }, ...history]
  }

  /** H-2: is what is there what the author saw? */
  async #compare(
    name: string,
    before: TableView | undefined,
    { ifMatch, ifNoneMatch }: Precondition,
  ): Promise<void> {
    if (ifNoneMatch === '*' && ifMatch === undefined) {
      if (before === undefined) return
      throw new ApiError('exists', `table ${name} is mapped already`, {
        current: before.table,
        ...(await this.#changedBy(before)),
      })
    }
    if (ifMatch === undefined)
      throw new ApiError(
        'precondition-required',
        'send If-Match with the ETag you saw, or If-None-Match: * to create',
      )
    if (before === undefined) throw new ApiError('not-found', `no mapping for table ${name}`)
    const seen = ifMatch.split(',').map((tag) => tag.trim())
    if (seen.includes('*') || seen.includes(before.table.etag)) return
    throw new ApiError('changed-meanwhile', `table ${name} is now ${before.table.etag}`, {
      current: before.table,
      ...(await this.#changedBy(before)),
    })
  }

  async #changedBy({
    name,
    node,
    table,
  }: TableView): Promise<{ readonly changedBy?: ChangeAuthor }> {
    try {
      const author = await this.#parts.histories.authorOf(name, node.stat.modifiedZxid)
      return {
        changedBy: author ?? { actor: 'unknown', source: 'external', at: table.modifiedAt },
      }
    } catch {
      return {}
    }
  }

  async #wanted(
    name: string,
    wish: TableWish,
    before: TableView | undefined,
  ): Promise<string | null> {
    const { rules, histories } = this.#parts
    switch (wish.kind) {
      case 'put':
        return textOfEdit(wish.edit, before?.mapping, rules)
      case 'patch':
        return textOfPatch(wish.patch, before?.mapping, rules)
      case 'delete':
        return null
      case 'exact':
        return checkedText(wish.text, 'value')
      case 'revert': {
        const version = await histories.get(name, wish.to)
        if (version === undefined)
          throw badField('to', `the history of ${name} has no version ${wish.to}`)
        const text = wish.side === 'before' ? version.before : version.after
        if (text === null && before === undefined)
          throw badField('to', 'there was no mapping either')
        return text === null ? null : checkedText(text, 'to')
      }
    }
  }

  /** The right is needed on what it was and on what it becomes. */
  demand(caller: Caller, name: string, before: TableView | undefined, text: string | null): void {
    const { mirror } = this.#parts
    if (before !== undefined) demand(caller, 'tables.edit', scopeOf(before.table))
    if (text === null) return
    const node = { name, text, stat: before?.node.stat ?? noStat }
    demand(caller, 'tables.edit', scopeOf(viewOf(node, mirror.context).table))
  }
}

const noStat = {
  version: 0,
  childrenVersion: 0,
  createdZxid: 0n,
  modifiedZxid: 0n,
  createdWallMs: 0,
  modifiedWallMs: 0,
  ephemeralOwner: 0n,
  childrenCount: 0,
  dataSizeBytes: 0,
}

function scopeOf({ cluster, memberOf }: Table): { cluster?: string; groups: readonly string[] } {
  return { ...(cluster === undefined ? {} : { cluster }), groups: memberOf }
}

function draftOf({ name, action, before, text }: DecidedChange): EntryDraft {
  return { action, kind: 'table', name, before: before?.node.text ?? null, after: text }
}

export function isThawing(wish: TableWish): boolean {
  if (wish.kind === 'put') return thaws(wish.edit)
  if (wish.kind === 'exact') return wish.thaws === true
  return wish.kind === 'patch' && thaws(wish.patch)
}

function frozen(current: Table): ApiError {
  return new ApiError('frozen', `table ${current.name} is frozen: thaw it first`, { current })
}

export const nameRule = 'expected 1 to 255 bytes without / and control characters'

export function checkedName(name: string): string {
  if (!isTableName(name)) throw badField('name', nameRule)
  return name
}
