/** A registry entry of a cluster while it is edited. */
import type { Cluster, ClusterEdit } from '../../../gateway/admin/api/clusters.ts'
import { clusterPath } from '../api/queries.ts'
import type { Entry, Version } from '../changes/entry-dialog.tsx'
import { metasOf } from '../tables/table-draft.ts'

export interface ClusterDraft {
  readonly name: string
  /** One address a line. */
  readonly metas: string
  readonly peer: string
  readonly note: string
}

export function draftOf({ name, metas, peer = '', note = '' }: Cluster): ClusterDraft {
  return { name, metas: metas.join('\n'), peer, note }
}

function editOf({ metas, peer, note }: ClusterDraft): ClusterEdit {
  return {
    metas: [...metasOf(metas)],
    ...(peer.trim() === '' ? {} : { peer: peer.trim() }),
    ...(note === '' ? {} : { note }),
  }
}

/** Undefined when it has no entry yet. */
export function versionOf(cluster: Cluster): Version<ClusterDraft> | undefined {
  const { etag } = cluster
  return etag === undefined ? undefined : { draft: draftOf(cluster), etag }
}

export const clusterEntry: Entry<ClusterDraft> = {
  empty: { name: '', metas: '', peer: '', note: '' },
  nameOf: ({ name }) => name,
  pathOf: clusterPath,
  bodyOf: editOf,
  textOf: (draft) => JSON.stringify(editOf(draft), null, 2),
  versionOf: (found) => {
    const cluster = found as Cluster
    return { draft: draftOf(cluster), etag: cluster.etag ?? '*' }
  },
  touches: ['clusters', 'cluster', 'tables', 'table'],
  mayUndo: true,
}
