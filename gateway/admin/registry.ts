/**
 * Named objects of the control tree that people edit: clusters and groups now. One node each, JSON in
 * which keys that are not ours stay; watched, changed through the journal with the version that the
 * author saw, as mappings are.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { isTableName } from '../routing/mapping.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import type { Author, Journal } from './journal.ts'
import { ApiError, badField } from './problem.ts'
import type { Freshness } from './api/requests.ts'
import { etagOf } from './table-view.ts'
import type { Precondition } from './table-edits.ts'
import { type FolderChange, type FolderNode, WatchedFolder } from './watched-folder.ts'

export type JsonObject = Readonly<Record<string, unknown>>

export interface RegistryEntry {
  readonly name: string
  readonly value: JsonObject
  readonly etag: string
  readonly version: number
  readonly modifiedAt: string
}

export interface RegistryOptions {
  /** `cluster`: the word in audit and messages. */
  readonly kind: string
  /** `clusters`: the folder of the control tree. */
  readonly folder: string
  /** Nobody else may read its nodes. */
  readonly isSecret?: boolean
  /** Throws `ApiError` when the author may not make this of that. */
  readonly onChange?: (change: FolderChange) => void
}

const VALUE_BYTES_MAX = 256 * 1024

export class Registry {
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #journal: Journal
  readonly #options: RegistryOptions
  readonly #folder: WatchedFolder
  readonly #parsed = new WeakMap<FolderNode, RegistryEntry>()

  constructor(
    parts: {
      readonly runtime: Runtime
      readonly coordinator: Coordinator
      readonly tree: ControlTree
      readonly journal: Journal
    },
    options: RegistryOptions,
  ) {
    this.#coordinator = parts.coordinator
    this.#tree = parts.tree
    this.#journal = parts.journal
    this.#options = options
    this.#folder = new WatchedFolder(parts.runtime, parts.coordinator, {
      path: parts.tree.path(options.folder),
      ...(options.onChange === undefined ? {} : { onChange: options.onChange }),
    })
  }

  get(name: string): RegistryEntry | undefined {
    const node = this.#folder.get(name)
    return node === undefined ? undefined : this.#entry(node)
  }

  /** In the order of the names. */
  list(): readonly RegistryEntry[] {
    return [...this.#folder.nodes()]
      .map((node) => this.#entry(node))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  freshness(): Freshness {
    return this.#folder.freshness()
  }

  loaded(): Promise<void> {
    return this.#folder.loaded()
  }

  /** `make` gives the new value, null to remove it. Resolves to what is there then. */
  async change(
    author: Author,
    name: string,
    precondition: Precondition,
    make: (current: RegistryEntry | undefined) => JsonObject | null,
    options: {
      readonly isDryRun?: boolean
      readonly auditText?: (value: JsonObject) => string
    } = {},
  ): Promise<RegistryEntry | undefined> {
    const { kind } = this.#options
    const path = this.#tree.path(this.#options.folder, checkedNodeName(name))
    const auditText = options.auditText ?? JSON.stringify
    if (options.isDryRun === true) {
      const current = await this.#read(name, path)
      this.#compare(name, current, precondition)
      make(current)
      return current
    }
    await this.#journal.commit(author, async () => {
      const current = await this.#read(name, path)
      this.#compare(name, current, precondition)
      const value = make(current)
      const draft = {
        kind,
        name,
        before: current === undefined ? null : auditText(current.value),
        after: value === null ? null : auditText(value),
      }
      if (value === null)
        return {
          operations:
            current === undefined ? [] : [{ type: 'remove', path, version: current.version }],
          entries: [{ ...draft, action: 'delete' }],
          raisesEpoch: false,
        }
      const data = Buffer.from(JSON.stringify(value))
      if (data.length > VALUE_BYTES_MAX) throw badField('', `the ${kind} is too large`)
      return {
        operations: [
          current === undefined
            ? { type: 'create', path, data, secret: this.#options.isSecret === true }
            : { type: 'set', path, data, version: current.version },
        ],
        entries: [{ ...draft, action: current === undefined ? 'create' : 'change' }],
        raisesEpoch: false,
      }
    })
    await this.#folder.refresh(name).catch(() => undefined)
    return this.get(name)
  }

  close(): void {
    this.#folder.close()
  }

  async #read(name: string, path: string): Promise<RegistryEntry | undefined> {
    try {
      const { data, stat } = await this.#coordinator.get(path)
      return this.#entry({ name, text: data.toString('utf8'), stat })
    } catch (error) {
      if (isCode(error, 'no-node')) return undefined
      throw error
    }
  }

  #compare(
    name: string,
    current: RegistryEntry | undefined,
    { ifMatch, ifNoneMatch }: Precondition,
  ): void {
    const { kind } = this.#options
    if (ifNoneMatch === '*' && ifMatch === undefined) {
      if (current === undefined) return
      throw new ApiError('exists', `${kind} ${name} exists already`, { current: shown(current) })
    }
    if (ifMatch === undefined)
      throw new ApiError(
        'precondition-required',
        'send If-Match with the ETag you saw, or If-None-Match: * to create',
      )
    if (current === undefined) throw new ApiError('not-found', `no ${kind} ${name}`)
    const seen = ifMatch.split(',').map((tag) => tag.trim())
    if (!seen.includes('*') && !seen.includes(current.etag))
      throw new ApiError('changed-meanwhile', `${kind} ${name} is now ${current.etag}`, {
        current: shown(current),
      })
  }

  #entry(node: FolderNode): RegistryEntry {
    let entry = this.#parsed.get(node)
    if (entry === undefined) {
      entry = {
        name: node.name,
        value: objectOf(node.text),
        etag: etagOf(node.stat),
        version: node.stat.version,
        modifiedAt: new Date(node.stat.modifiedWallMs).toISOString(),
      }
      this.#parsed.set(node, entry)
    }
    return entry
  }
}

/** Secrets of users are never shown, neither in a conflict. */
function shown({ name, value, etag, modifiedAt }: RegistryEntry): JsonObject {
  const { password: _password, secret: _secret, ...rest } = value
  return { ...rest, name, etag, modifiedAt }
}

/** Another tool may have put anything there; then it has no keys that are ours. */
export function objectOf(text: string): JsonObject {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
      ? { ...parsed }
      : {}
  } catch {
    return {}
  }
}

export function checkedNodeName(name: string): string {
  if (isTableName(name) && !/\s/.test(name)) return name
  throw badField('name', 'expected 1 to 255 bytes without blanks, / and control characters')
}

export function stringOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

export function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}
