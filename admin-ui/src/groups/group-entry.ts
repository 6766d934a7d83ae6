/** A group while it is edited. */
import type { Group, GroupEdit } from '../../../gateway/admin/api/groups.ts'
import { groupPath } from '../api/queries.ts'
import type { Entry, Version } from '../changes/entry-dialog.tsx'
import { metasOf as namesOf } from '../tables/table-draft.ts'

export interface GroupDraft {
  readonly name: string
  /** One name a line. */
  readonly members: string
  readonly patterns: string
  readonly stale: string
  readonly note: string
}

export function draftOf({ name, members, patterns, stale = '', note = '' }: Group): GroupDraft {
  return { name, members: members.join('\n'), patterns: patterns.join('\n'), stale, note }
}

function editOf({ members, patterns, stale, note }: GroupDraft): GroupEdit {
  return {
    members: [...namesOf(members)],
    patterns: [...namesOf(patterns)],
    ...(stale === '' ? {} : { stale }),
    ...(note === '' ? {} : { note }),
  }
}

/** Undefined when it has no entry yet. */
export function versionOf(group: Group): Version<GroupDraft> | undefined {
  const { etag } = group
  return etag === undefined ? undefined : { draft: draftOf(group), etag }
}

export const groupEntry: Entry<GroupDraft> = {
  empty: { name: '', members: '', patterns: '', stale: '', note: '' },
  nameOf: ({ name }) => name,
  pathOf: groupPath,
  bodyOf: editOf,
  textOf: (draft) => JSON.stringify(editOf(draft), null, 2),
  versionOf: (found) => {
    const group = found as Group
    return { draft: draftOf(group), etag: group.etag ?? '*' }
  },
  touches: ['groups', 'group', 'tables', 'table'],
  mayUndo: true,
}
