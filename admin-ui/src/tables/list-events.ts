/** What events make of the rows of a list that are loaded, and which of them are of one table. Pure. */
import type { ServerEvent } from '../../../gateway/admin/api/events.ts'
import type { Table, TableState } from '../../../gateway/admin/api/tables.ts'

const states: Readonly<Record<TableState, true>> = {
  ok: true,
  invalid: true,
  dangling: true,
  redirected: true,
  drifted: true,
  frozen: true,
}

export function isTableState(state: string | undefined): state is TableState {
  return state !== undefined && Object.hasOwn(states, state)
}

/** The row after the event, as far as the event tells. */
export function patched(table: Table, event: ServerEvent): Table {
  const { etag, state, cluster, redirect, actor, source, at } = event
  const { redirect: before, ...row } = table
  const isTold = isTableState(state)
  const now = isTold ? redirect : before
  // The same version in another state: a redirect, a registry entry, a list of tables has changed.
  const isRestated = etag !== undefined && etag === table.etag && actor === undefined
  return {
    ...row,
    ...(now === undefined ? {} : { redirect: now }),
    ...(isRestated ? {} : { modifiedAt: at }),
    ...(etag === undefined ? {} : { etag }),
    ...(cluster === undefined ? {} : { cluster }),
    ...(isTold ? { state } : {}),
    ...(actor === undefined ? {} : { changedBy: { actor, source: source ?? '', at } }),
  }
}

/** The latest change of each table, and how many came or went. */
export function gathered(events: readonly ServerEvent[]): {
  readonly changed: ReadonlyMap<string, ServerEvent>
  readonly news: number
} {
  const changed = new Map<string, ServerEvent>()
  let news = 0
  for (const event of events) {
    if (event.topic !== 'tables') continue
    if (event.type === 'changed') changed.set(event.name, event)
    else news++
  }
  return { changed, news }
}

/** Events of one table, the newest first and at most `max`, after more have come. */
export function withEventsOf(
  name: string,
  kept: readonly ServerEvent[],
  events: readonly ServerEvent[],
  max: number,
): readonly ServerEvent[] {
  const own = events.filter((event) => event.topic === 'tables' && event.name === name)
  return own.length === 0 ? kept : [...own.toReversed(), ...kept].slice(0, max)
}
