/**
 * What an import, a bulk edit, an adoption or the replacement of a meta server wants of each table, for
 * a preview (`change-sets.ts`). Computed on the mirror; what is out of date is skipped at the apply.
 */
import { metaAddress } from '../routing/mapping.ts'
import type { BulkEditRequest, ChangeItem } from './api/changes.ts'
import type { Wanted } from './change-sets.ts'
import type { ImportLine } from './import-file.ts'
import { badField } from './problem.ts'
import type { Caller } from './rights.ts'
import type { Services } from './services.ts'
import { checkedName } from './table-edits.ts'
import { checkedText, textOfEdit, textOfPatch, thaws } from './table-values.ts'
import type { TableView } from './table-view.ts'

type Parts = Pick<Services, 'mirror' | 'lists' | 'edits'>

/** Tables of one turn of the event loop; each is parsed, formatted and compared. */
const SLICE = 50

export class WantedChanges {
  readonly #parts: Parts
  readonly #pause: () => Promise<void>

  constructor(parts: Parts, pause: () => Promise<void>) {
    this.#parts = parts
    this.#pause = pause
  }

  async *import(
    caller: Caller,
    lines: readonly ImportLine[],
    mode: 'merge' | 'replace',
  ): AsyncGenerator<Wanted | ChangeItem> {
    const { edits, mirror } = this.#parts
    for (const [index, one] of lines.entries()) {
      if (index % SLICE === SLICE - 1) await this.#pause()
      const { line, name } = one
      if ('errors' in one) {
        yield { kind: 'invalid', name, line, errors: [...one.errors] }
        continue
      }
      const current = mirror.get(name)
      const make = (): string => {
        if ('patch' in one) return textOfPatch(one.patch, current?.mapping, edits.rules)
        // What is there already may stay, whatever it is: an export can always be imported.
        return one.text === current?.node.text ? one.text : checkedText(one.text, 'value')
      }
      const isThawing = 'patch' in one && thaws(one.patch)
      yield { ...this.#wanted(caller, name, current, make), line, thaws: isThawing }
    }
    if (mode === 'merge') return
    const kept = new Set(lines.map(({ name }) => name))
    const unread = lines.filter(({ name }) => name === '').map(({ line }) => line)
    if (unread.length > 0) {
      // Nobody knows which tables they were to keep.
      const message = `nothing is deleted: no table could be read in line ${unread.slice(0, 5).join(', ')}`
      yield { kind: 'invalid', name: '', errors: [{ field: '', message }] }
      return
    }
    for (const name of [...mirror.names])
      if (!kept.has(name)) yield this.#wanted(caller, name, mirror.get(name), () => null)
  }

  async *bulkEdit(caller: Caller, request: BulkEditRequest): AsyncGenerator<Wanted | ChangeItem> {
    const { patch, select } = request
    if ((patch === undefined) === (request.delete === undefined))
      throw badField('patch', 'give either patch or delete')
    const { edits, mirror, lists } = this.#parts
    const names =
      'names' in select
        ? [...new Set(select.names.map(checkedName))]
        : lists.select(select.filter).map(({ name }) => name)
    for (const [index, name] of names.entries()) {
      if (index % SLICE === SLICE - 1) await this.#pause()
      const current = mirror.get(name)
      if (current === undefined) {
        const errors = [{ field: 'name', message: 'there is no such mapping' }]
        yield { kind: 'invalid', name, errors }
        continue
      }
      const make = (): string | null =>
        patch === undefined ? null : textOfPatch(patch, current.mapping, edits.rules)
      const isThawing = patch !== undefined && thaws(patch)
      yield { ...this.#wanted(caller, name, current, make), thaws: isThawing }
    }
  }

  /** Mappings to a cluster for tables that have none. */
  *adopt(
    caller: Caller,
    cluster: string,
    metas: readonly string[],
    names: readonly string[],
  ): Generator<Wanted> {
    const { edits, mirror } = this.#parts
    for (const name of names) {
      const edit = { cluster, metas: [...metas] }
      const make = (): string => textOfEdit(edit, undefined, edits.rules)
      yield this.#wanted(caller, name, mirror.get(name), make)
    }
  }

  /** One address for another in all mappings to a cluster. */
  *replaceMeta(caller: Caller, cluster: string, from: string, to: string): Generator<Wanted> {
    const { edits, lists } = this.#parts
    for (const view of lists.select({ cluster })) {
      const { mapping } = view
      if (mapping === undefined || !mapping.metas.includes(from)) continue
      const metas = replaced(mapping.metas, from, to)
      const make = (): string => textOfPatch({ metas }, mapping, edits.rules)
      yield this.#wanted(caller, view.name, view, make)
    }
  }

  #wanted(
    caller: Caller,
    name: string,
    current: TableView | undefined,
    make: () => string | null,
  ): Wanted {
    const demand = (text: string | null): void =>
      this.#parts.edits.demand(caller, name, current, text)
    return { name, current, make, demand }
  }
}

export function replaced(metas: readonly string[], from: string, to: string): string[] {
  return [...new Set(metas.map((address) => (address === from ? to : address)))]
}

export function checkedAddress(field: string, text: string): string {
  const address = metaAddress(text)
  if (address === undefined) throw badField(field, 'expected host:port')
  return address
}
