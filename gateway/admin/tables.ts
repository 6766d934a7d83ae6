/**
 * Mapping nodes for the admin API: reading, listing, creating, replacing and deleting, each change
 * compared with what its author saw (gateway.md 14, H-2). The ETag is `"<mzxid>.<version>"`, and the
 * version goes into ZooKeeper's own compare-and-set, so changes by other tools are noticed too.
 */
import {
  type Coordinator,
  CoordinatorError,
  type NodeStat,
} from '../../cluster/coordinator/coordinator.ts'
import {
  type Mapping,
  type MappingForm,
  OPTIONAL_KEYS,
  formatMapping,
  isTableName,
  parseCluster,
  parseMapping,
  parseMetas,
} from '../routing/mapping.ts'
import type { Table, TableEdit, TableList, TableQuery } from './api.ts'
import { ApiError, fromCoordinator } from './problem.ts'

export interface Precondition {
  readonly ifMatch: string | undefined
  readonly ifNoneMatch: string | undefined
}

export interface Found {
  readonly table: Table
  readonly etag: string
  readonly stat: NodeStat
  /** Undefined when the node holds no mapping. */
  readonly mapping: Mapping | undefined
}

const READS_AT_ONCE = 32
const LIMIT_MAX = 500

export class TableNodes {
  readonly #coordinator: Coordinator
  readonly #root: string
  readonly #writeForm: MappingForm

  constructor(
    coordinator: Coordinator,
    options: { readonly root: string; readonly writeForm: MappingForm },
  ) {
    this.#coordinator = coordinator
    this.#root = options.root
    this.#writeForm = options.writeForm
  }

  #path(name: string): string {
    if (!isTableName(name))
      throw new ApiError('bad-request', `not a table name: ${JSON.stringify(name).slice(0, 300)}`, {
        errors: [
          { field: 'name', message: 'expected 1 to 255 bytes without / and control characters' },
        ],
      })
    return `${this.#root}/${name}`
  }

  async find(name: string): Promise<Found | undefined> {
    const path = this.#path(name)
    try {
      const { data, stat } = await this.#coordinator.get(path)
      return describe(name, data, stat)
    } catch (error) {
      if (isCode(error, 'no-node')) return undefined
      throw fromCoordinator(error, false)
    }
  }

  async get(name: string): Promise<Found> {
    const found = await this.find(name)
    if (found === undefined) throw new ApiError('not-found', `no mapping for table ${name}`)
    return found
  }

  /** In the order of the names. Filters other than `q` mean reading nodes until the page is full. */
  async list({
    limit: asked = '100',
    cursor,
    q,
    cluster,
    invalid,
  }: TableQuery): Promise<TableList> {
    const limit = Math.max(1, Math.min(LIMIT_MAX, Number(asked)))
    let names: readonly string[]
    try {
      names = await this.#coordinator.children(this.#root)
    } catch (error) {
      if (!isCode(error, 'no-node')) throw fromCoordinator(error, false)
      names = []
    }
    const matching = names
      .filter((name) => q === undefined || name.includes(q))
      .toSorted((a, b) => (a < b ? -1 : 1))
    const after = cursor === undefined ? '' : Buffer.from(cursor, 'base64url').toString('utf8')
    const rest = matching.filter((name) => name > after)
    const isFiltered = cluster !== undefined || invalid !== undefined
    const tables: Table[] = []
    let at = 0
    while (at < rest.length && tables.length < limit) {
      const batch = rest.slice(at, at + Math.min(READS_AT_ONCE, limit - tables.length))
      at += batch.length
      for (const found of await Promise.all(batch.map((name) => this.find(name)))) {
        if (found === undefined) continue
        const { table } = found
        const fits =
          (cluster === undefined || table.cluster === cluster) &&
          (invalid === undefined || !table.valid)
        if (fits) tables.push(table)
      }
    }
    const last = rest[at - 1]
    return {
      tables,
      ...(at < rest.length && last !== undefined
        ? { cursor: Buffer.from(last).toString('base64url') }
        : {}),
      ...(isFiltered ? {} : { total: matching.length }),
    }
  }

  /** Creates with `If-None-Match: *`, replaces with `If-Match`; resolves to what is there now. */
  async put(
    name: string,
    edit: TableEdit,
    precondition: Precondition,
  ): Promise<{ readonly found: Found; readonly isNew: boolean }> {
    const checked = checkEdit(edit)
    const { ifMatch, ifNoneMatch } = precondition
    if (ifNoneMatch === '*' && ifMatch === undefined) {
      await this.#create(name, formatMapping(checked, undefined, this.#writeForm))
      return { found: await this.get(name), isNew: true }
    }
    const current = await this.#matching(name, ifMatch)
    if (current.mapping?.frozen === true && edit.frozen !== false) throw frozen(current)
    const data = formatMapping(checked, current.mapping, this.#writeForm)
    try {
      const stat = await this.#coordinator.set(this.#path(name), data, current.stat.version)
      return { found: describe(name, data, stat), isNew: false }
    } catch (error) {
      throw await this.#refused(name, error)
    }
  }

  async remove(name: string, ifMatch: string | undefined): Promise<void> {
    const current = await this.#matching(name, ifMatch)
    if (current.mapping?.frozen === true) throw frozen(current)
    try {
      await this.#coordinator.remove(this.#path(name), current.stat.version)
    } catch (error) {
      throw await this.#refused(name, error)
    }
  }

  async #create(name: string, data: Buffer): Promise<void> {
    const path = this.#path(name)
    try {
      await this.#createWithParents(path, data)
    } catch (error) {
      if (!isCode(error, 'node-exists')) throw fromCoordinator(error, true)
      const current = await this.find(name)
      throw new ApiError(
        'exists',
        `table ${name} is mapped already`,
        current === undefined ? {} : { current: current.table },
      )
    }
  }

  async #createWithParents(path: string, data: Buffer): Promise<void> {
    try {
      await this.#coordinator.create(path, data)
      return
    } catch (error) {
      if (!isCode(error, 'no-node')) throw error
    }
    const parts = this.#root.split('/').slice(1)
    for (const depth of parts.keys()) {
      try {
        await this.#coordinator.create(`/${parts.slice(0, depth + 1).join('/')}`, Buffer.alloc(0))
      } catch (error) {
        if (!isCode(error, 'node-exists')) throw error
      }
    }
    await this.#coordinator.create(path, data)
  }

  /** What is there, when it is what the author of the change saw. */
  async #matching(name: string, ifMatch: string | undefined): Promise<Found> {
    if (ifMatch === undefined)
      throw new ApiError(
        'precondition-required',
        'send If-Match with the ETag you saw, or If-None-Match: * to create',
      )
    const current = await this.get(name)
    const seen = ifMatch.split(',').map((tag) => tag.trim())
    if (!seen.includes('*') && !seen.includes(current.etag)) throw changed(current)
    return current
  }

  async #refused(name: string, error: unknown): Promise<unknown> {
    if (isCode(error, 'no-node')) return new ApiError('not-found', `no mapping for table ${name}`)
    if (!isCode(error, 'bad-version')) return fromCoordinator(error, true)
    const current = await this.find(name)
    return current === undefined
      ? new ApiError('not-found', `no mapping for table ${name}`)
      : changed(current)
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof CoordinatorError && error.code === code
}

function changed(current: Found): ApiError {
  return new ApiError('changed-meanwhile', `table ${current.table.name} is now ${current.etag}`, {
    current: current.table,
  })
}

function frozen(current: Found): ApiError {
  return new ApiError('frozen', `table ${current.table.name} is frozen: thaw it first`, {
    current: current.table,
  })
}

function checkEdit(edit: TableEdit): Parameters<typeof formatMapping>[0] {
  const cluster = parseCluster(edit.cluster, 'cluster')
  const metas = parseMetas(edit.metas, 'metas')
  const errors = [cluster, metas].flatMap((parsed) => (parsed.ok ? [] : [parsed.problem]))
  if (!cluster.ok || !metas.ok)
    throw new ApiError(
      'bad-request',
      errors.map(({ field, message }) => `${field}: ${message}`).join('; '),
      { errors },
    )
  const optional = Object.fromEntries(
    OPTIONAL_KEYS.flatMap((key) => (edit[key] === undefined ? [] : [[key, edit[key]]])),
  )
  return { cluster: cluster.value, metas: metas.value, optional }
}

function describe(name: string, data: Buffer, stat: NodeStat): Found {
  const parsed = parseMapping(data)
  const base = {
    name,
    version: stat.version,
    modifiedAt: new Date(stat.modifiedWallMs).toISOString(),
  }
  const etag = `"${stat.modifiedZxid}.${stat.version}"`
  if (!parsed.ok)
    return {
      etag,
      stat,
      mapping: undefined,
      table: { ...base, valid: false, problem: parsed.problem },
    }
  const { cluster, metas, form, raw } = parsed.value
  const text = (key: string): object => (typeof raw[key] === 'string' ? { [key]: raw[key] } : {})
  return {
    etag,
    stat,
    mapping: parsed.value,
    table: {
      ...base,
      valid: true,
      cluster,
      metas: [...metas],
      form,
      ...text('group'),
      ...text('note'),
      ...(parsed.value.frozen ? { frozen: true } : {}),
      ...text('stale'),
      ...text('standby'),
    },
  }
}
