/**
 * Carrying out many changes of mappings: a batch as it was sent, or a preview (`change-sets.ts`). Items
 * go in transactions of some tens; when one of them cannot, the others of its transaction are tried one
 * by one, so that a conflict costs nobody else his change.
 */
import type { BatchChange, BatchResult, ItemResult } from './api/changes.ts'
import { ATOMIC_MAX } from './api/changes.ts'
import type { PlannedChange } from './approval-store.ts'
import type { EventHub } from './event-hub.ts'
import type { LoadedSet } from './change-sets.ts'
import type { Author } from './journal.ts'
import { ApiError, asApiError, badField, problemOf } from './problem.ts'
import type { Caller } from './rights.ts'
import { type TableChangeRequest, type TableEdits, checkedName, isThawing } from './table-edits.ts'

export const TOGETHER = 40

export class BulkChanges {
  readonly #edits: TableEdits
  readonly #events: EventHub

  constructor(edits: TableEdits, events: EventHub) {
    this.#edits = edits
    this.#events = events
  }

  async batch(
    caller: Caller,
    author: Author,
    changes: readonly BatchChange[],
    atomic: boolean,
  ): Promise<BatchResult> {
    const wanted = changes.map(requestOf)
    if (!atomic) return this.#each(caller, author, wanted, undefined)
    checkAtomic(wanted.length)
    return this.#atomic(caller, author, wanted)
  }

  /** What a batch would do: every check, no effect. */
  async dryRun(caller: Caller, changes: readonly BatchChange[]): Promise<BatchResult> {
    const results: ItemResult[] = []
    for (const change of changes) {
      try {
        await this.#edits.decide(caller, requestOf(change))
        results.push({ name: change.name, status: 'done' })
      } catch (error) {
        results.push(failure(change.name, error, ''))
      }
    }
    return summed(results)
  }

  /** `token` names it in events. */
  async apply(caller: Caller, author: Author, set: LoadedSet, token: string): Promise<BatchResult> {
    return this.#each(caller, author, requestsOf(set), token)
  }

  /**
   * Changes for somebody else to approve: the texts and the versions that they were seen in. Those that
   * cannot be made are invalid there; what is told when none is left, or when it is all or nothing, is
   * the `BatchResult`.
   */
  async plan(
    caller: Caller,
    requests: readonly TableChangeRequest[],
    atomic: boolean,
  ): Promise<readonly PlannedChange[] | BatchResult> {
    const planned: PlannedChange[] = []
    const results: ItemResult[] = []
    for (let at = 0; at < requests.length; at += TOGETHER) {
      const some = requests.slice(at, at + TOGETHER)
      const decided = await Promise.all(some.map((request) => this.#planOne(caller, request)))
      planned.push(...decided.map(({ change }) => change))
      results.push(...decided.map(({ result }) => result))
    }
    const refused = planned.filter(({ kind }) => kind === 'invalid').length
    const isAsked = atomic ? refused === 0 : refused < planned.length
    if (isAsked) return planned
    return summed(
      results.map((one) => (atomic && one.problem ? { ...one, status: 'failed' } : one)),
    )
  }

  async #planOne(
    caller: Caller,
    request: TableChangeRequest,
  ): Promise<{ readonly change: PlannedChange; readonly result: ItemResult }> {
    const { name, wish } = request
    try {
      const { before, text } = await this.#edits.decide(caller, request)
      const change: PlannedChange = {
        kind: before === undefined ? 'create' : text === null ? 'delete' : 'change',
        name,
        ...(before === undefined ? {} : { before: before.node.text, etag: before.table.etag }),
        ...(text === null ? {} : { after: text }),
        ...(isThawing(wish) ? { thaws: true } : {}),
      }
      return { change, result: { name, status: 'skipped' } }
    } catch (error) {
      if (isOfAll(error)) throw error
      const { message, facts } = asApiError(error)
      const errors = [...(facts.errors ?? [{ field: '', message }])]
      return { change: { kind: 'invalid', name, errors }, result: failure(name, error, '') }
    }
  }

  async #atomic(
    caller: Caller,
    author: Author,
    wanted: readonly TableChangeRequest[],
  ): Promise<BatchResult> {
    try {
      const views = await this.#edits.apply(caller, author, wanted)
      return summed(wanted.map(({ name }, index) => done(name, views[index]?.table)))
    } catch (error) {
      if (isOfAll(error)) throw error
      return this.#blame(caller, author, wanted, error)
    }
  }

  /** Which item was it? Those that could go are skipped. */
  async #blame(
    caller: Caller,
    author: Author,
    wanted: readonly TableChangeRequest[],
    error: unknown,
  ): Promise<BatchResult> {
    const results: ItemResult[] = []
    for (const request of wanted) {
      try {
        await this.#edits.decide(caller, request)
        results.push({ name: request.name, status: 'skipped' })
      } catch (cause) {
        results.push({ ...failure(request.name, cause, author.requestId), status: 'failed' })
      }
    }
    if (results.every(({ status }) => status === 'skipped')) throw error
    return summed(results)
  }

  async #each(
    caller: Caller,
    author: Author,
    wanted: readonly TableChangeRequest[],
    token: string | undefined,
  ): Promise<BatchResult> {
    const results: ItemResult[] = []
    for (let at = 0; at < wanted.length; at += TOGETHER) {
      const some = wanted.slice(at, at + TOGETHER)
      results.push(...(await this.#some(caller, author, some)))
      if (token !== undefined) this.#tell(token, results, wanted.length)
    }
    return summed(results)
  }

  async #some(
    caller: Caller,
    author: Author,
    wanted: readonly TableChangeRequest[],
  ): Promise<readonly ItemResult[]> {
    try {
      const views = await this.#edits.apply(caller, author, wanted)
      return wanted.map(({ name }, index) => done(name, views[index]?.table))
    } catch (error) {
      if (wanted.length === 1 || asApiError(error).code === 'outcome-unknown')
        return wanted.map(({ name }) => failure(name, error, author.requestId))
    }
    const results: ItemResult[] = []
    for (const request of wanted) results.push(...(await this.#some(caller, author, [request])))
    return results
  }

  #tell(token: string, results: readonly ItemResult[], total: number): void {
    const { done: made, failed, skipped } = summed(results)
    this.#events.publish({
      topic: 'apply',
      type: 'progress',
      name: token,
      progress: { done: made, failed, skipped, total },
    })
  }
}

export function requestsOf({ origin, items }: LoadedSet): TableChangeRequest[] {
  return items.map(({ name, etag, text, thaws }) => ({
    name,
    wish:
      text === null
        ? { kind: 'delete' }
        : { kind: 'exact', text, action: origin, ...(thaws === true ? { thaws } : {}) },
    precondition: etag === undefined ? { ifNoneMatch: '*' } : { ifMatch: etag },
  }))
}

export function requestOf(change: BatchChange): TableChangeRequest {
  const name = checkedName(change.name)
  switch (change.action) {
    case 'create':
      return {
        name,
        wish: { kind: 'put', edit: change.edit },
        precondition: { ifNoneMatch: '*' },
      }
    case 'replace':
      return {
        name,
        wish: { kind: 'put', edit: change.edit },
        precondition: { ifMatch: change.ifMatch ?? '*' },
      }
    case 'patch':
      return {
        name,
        wish: { kind: 'patch', patch: change.patch },
        precondition: { ifMatch: change.ifMatch ?? '*' },
      }
    case 'delete':
      return { name, wish: { kind: 'delete' }, precondition: { ifMatch: change.ifMatch ?? '*' } }
  }
}

export function checkAtomic(count: number): void {
  if (count > ATOMIC_MAX)
    throw badField('changes', `an atomic batch has at most ${ATOMIC_MAX} changes`)
}

function done(name: string, table: ItemResult['table']): ItemResult {
  return { name, status: 'done', ...(table === undefined ? {} : { table }) }
}

/** Somebody was faster: that is no failure of this change, it was never tried. */
export const overtaken = new Set(['changed-meanwhile', 'exists', 'not-found'])

function failure(name: string, error: unknown, requestId: string): ItemResult {
  const problem = problemOf(error, requestId)
  return { name, status: overtaken.has(problem.code) ? 'skipped' : 'failed', problem }
}

/** Not the fault of one item. */
export function isOfAll(error: unknown): boolean {
  if (!(error instanceof ApiError)) return true
  return ['zookeeper-unavailable', 'outcome-unknown', 'busy'].includes(error.code)
}

function summed(results: readonly ItemResult[]): BatchResult {
  const count = (status: ItemResult['status']): number =>
    results.filter((result) => result.status === status).length
  return {
    results: [...results],
    done: count('done'),
    failed: count('failed'),
    skipped: count('skipped'),
  }
}
