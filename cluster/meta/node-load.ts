/**
 * Which node takes the next replica: counts of partitions and primaries per node, including what is
 * proposed and not yet decided, so that one round spreads the load (meta-server.md 9.3). Pure.
 */
import type { MetaState, NodeState } from './state.ts'

export type LoadOrder = 'least-primaries' | 'least-partitions' | 'most-partitions'

interface Load {
  readonly primaries: number
  readonly partitions: number
}

function loadOf(node: NodeState | undefined, appId: number | undefined): Load {
  let primaries = 0
  let partitions = 0
  if (node !== undefined)
    for (const [id, share] of node.shares)
      if (appId === undefined || id === appId) {
        primaries += share.primaries.size + share.newlyPrimaries
        partitions += share.partitions.size + share.newlyPartitions
      }
  return { primaries, partitions }
}

/** What counts, most important first; the smallest wins. */
function rank(node: NodeState | undefined, appId: number, order: LoadOrder): readonly number[] {
  const ofApp = loadOf(node, appId)
  const all = loadOf(node, undefined)
  switch (order) {
    case 'least-primaries':
      return [ofApp.primaries, ofApp.partitions, all.primaries, all.partitions]
    case 'least-partitions':
      return [ofApp.partitions, all.partitions]
    case 'most-partitions':
      return [-ofApp.partitions, -all.partitions]
  }
}

/** Ties go to the smaller name, so that the choice depends on nothing but the state. */
export function leastLoaded(
  state: MetaState,
  candidates: readonly string[],
  appId: number,
  order: LoadOrder,
): string | undefined {
  let best: { readonly node: string; readonly rank: readonly number[] } | undefined
  for (const node of [...candidates].toSorted()) {
    const ranked = rank(state.nodes.get(node), appId, order)
    if (best === undefined || comesBefore(ranked, best.rank)) best = { node, rank: ranked }
  }
  return best?.node
}

function comesBefore(a: readonly number[], b: readonly number[]): boolean {
  for (const [at, value] of a.entries()) {
    const other = b[at] ?? 0
    if (value !== other) return value < other
  }
  return false
}
