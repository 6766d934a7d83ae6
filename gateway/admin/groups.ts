/** Groups for the admin API: their nodes, and the groups that only mappings name. */
import type { Group, GroupEdit, GroupList } from './api/groups.ts'
import type { Author } from './journal.ts'
import { isTableName } from '../routing/mapping.ts'
import { namePattern } from '../routing/name-pattern.ts'
import { ApiError } from './problem.ts'
import {
  type JsonObject,
  type Registry,
  type RegistryEntry,
  stringOf,
  stringsOf,
} from './registry.ts'
import { type Caller, demand } from './rights.ts'
import { invalid } from './schema-errors.ts'
import { type Precondition, nameRule } from './table-edits.ts'
import type { TableMirror } from './table-mirror.ts'
import type { GroupTest } from './table-view.ts'

export class Groups {
  readonly #registry: Registry
  readonly #mirror: TableMirror
  #revision = -1
  #counts = new Map<string, number>()

  constructor(registry: Registry, mirror: TableMirror) {
    this.#registry = registry
    this.#mirror = mirror
  }

  /** For the context of the views. */
  tests(): readonly GroupTest[] {
    return this.#registry.list().map(({ name, value }) => ({
      name,
      members: new Set(stringsOf(value['members'])),
      patterns: stringsOf(value['patterns']).map(namePattern),
    }))
  }

  list(): GroupList {
    const counts = this.#countsNow()
    const names = new Set([...this.#registry.list().map(({ name }) => name), ...counts.keys()])
    const groups = [...names]
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map((name) => describe(name, this.#registry.get(name), counts.get(name) ?? 0))
    return { groups, total: groups.length, asOf: this.#registry.freshness() }
  }

  get(name: string): Group {
    const entry = this.#registry.get(name)
    const tables = this.#countsNow().get(name)
    if (entry === undefined && tables === undefined)
      throw new ApiError('not-found', `no group ${name}, neither registered nor named by a mapping`)
    return describe(name, entry, tables ?? 0)
  }

  async put(
    caller: Caller,
    author: Author,
    name: string,
    edit: GroupEdit,
    precondition: Precondition,
    isDryRun: boolean,
  ): Promise<Group> {
    demand(caller, 'groups.edit', { groups: [name] })
    const wrong = edit.members.flatMap((member, at) =>
      isTableName(member) ? [] : [{ field: `members.${at}`, message: nameRule }],
    )
    if (wrong.length > 0) throw invalid(wrong)
    const make = (current: RegistryEntry | undefined): JsonObject => {
      const { note: _note, stale: _stale, ...rest } = current?.value ?? {}
      return {
        ...rest,
        members: [...new Set(edit.members)],
        patterns: [...new Set(edit.patterns)],
        ...(edit.note === undefined ? {} : { note: edit.note }),
        ...(edit.stale === undefined ? {} : { stale: edit.stale }),
      }
    }
    const entry = await this.#registry.change(author, name, precondition, make, { isDryRun })
    return describe(name, entry, this.#countsNow().get(name) ?? 0)
  }

  async remove(
    caller: Caller,
    author: Author,
    name: string,
    precondition: Precondition,
    isDryRun: boolean,
  ): Promise<void> {
    demand(caller, 'groups.edit', { groups: [name] })
    await this.#registry.change(author, name, precondition, () => null, { isDryRun })
  }

  #countsNow(): ReadonlyMap<string, number> {
    if (this.#revision === this.#mirror.revision) return this.#counts
    const counts = new Map<string, number>()
    for (const name of this.#mirror.names)
      for (const group of this.#mirror.get(name)?.table.memberOf ?? [])
        counts.set(group, (counts.get(group) ?? 0) + 1)
    this.#revision = this.#mirror.revision
    this.#counts = counts
    return counts
  }
}

function describe(name: string, entry: RegistryEntry | undefined, tables: number): Group {
  const note = stringOf(entry?.value['note'])
  const stale = stringOf(entry?.value['stale'])
  return {
    name,
    registered: entry !== undefined,
    members: [...stringsOf(entry?.value['members'])],
    patterns: [...stringsOf(entry?.value['patterns'])],
    ...(note === undefined ? {} : { note }),
    ...(stale === undefined ? {} : { stale }),
    tables,
    ...(entry === undefined
      ? {}
      : { etag: entry.etag, version: entry.version, modifiedAt: entry.modifiedAt }),
  }
}
