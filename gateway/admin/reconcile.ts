/**
 * What a cluster has against what is mapped to it (admin-ui.md 3.6). Pure.
 */
import type { TableInfo } from '../../cluster/client/admin.ts'
import type { ClusterTable, ReconcileState } from './api/clusters.ts'
import type { TableView } from './table-view.ts'

export interface ReconcileFacts {
  readonly cluster: string
  readonly metas: readonly string[]
  /** Tables that the cluster has. */
  readonly hosted: readonly TableInfo[]
  /** The mapping of a name, whichever cluster it is to. */
  readonly mappingOf: (name: string) => TableView | undefined
  /** All mappings to this cluster. */
  readonly mapped: readonly TableView[]
}

/** In the order of the names. */
export function reconcile(facts: ReconcileFacts): ClusterTable[] {
  const { cluster, hosted, mapped, mappingOf } = facts
  const names = new Set(hosted.map(({ name }) => name))
  const known = new Set(facts.metas)
  const isOurs = (view: TableView): boolean =>
    view.mapping?.metas.some((address) => known.has(address)) ?? false
  const stateOfHosted = (view: TableView | undefined): ReconcileState => {
    if (view === undefined) return 'unmapped'
    if (view.table.cluster !== cluster) return 'elsewhere'
    return isOurs(view) ? 'mapped' : 'mismatched'
  }
  const here = hosted.map(({ name, appId, partitionCount, status }) => {
    const view = mappingOf(name)
    return {
      name,
      state: stateOfHosted(view),
      appId,
      partitionCount,
      status,
      ...mappingFacts(view),
    }
  })
  const gone = mapped
    .filter(({ name }) => !names.has(name))
    .map((view): ClusterTable => {
      const state = isOurs(view) ? 'dangling' : 'mismatched'
      return { name: view.name, state, ...mappingFacts(view) }
    })
  return [...here, ...gone].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

function mappingFacts(view: TableView | undefined): Partial<ClusterTable> {
  if (view?.mapping === undefined) return {}
  return { mappedTo: view.mapping.cluster, metas: [...view.mapping.metas] }
}
