/** Making or changing one mapping (admin-ui.md 3.4): its form, and what a dry run says before a save. */
import type { ChangePreview, Table } from '../../../gateway/admin/api/tables.ts'
import { tablePath } from '../api/queries.ts'
import { type Entry, EntryDialog, type Version } from '../changes/entry-dialog.tsx'
import { useText } from '../text/text.tsx'
import { ChangeReview } from './change-review.tsx'
import { draftOf, editOf, emptyDraft, formatRaw, type TableDraft } from './table-draft.ts'
import { TableForm } from './table-form.tsx'

function versionOf(found: unknown): Version<TableDraft> {
  const table = found as Table
  return { draft: draftOf(table), etag: table.etag }
}

const entry: Entry<TableDraft> = {
  empty: emptyDraft,
  nameOf: ({ name }) => name,
  pathOf: tablePath,
  bodyOf: editOf,
  textOf: formatRaw,
  versionOf,
  touches: ['tables', 'table', 'history'],
  mayUndo: true,
}

/** `base`: what the author sees; undefined for a new mapping. */
export function EditDialog(props: { readonly base?: Table; readonly onClose: () => void }) {
  const { t } = useText()
  const { base, onClose } = props
  return (
    <EntryDialog
      entry={entry}
      titleNew={t('edit.titleNew')}
      base={base === undefined ? undefined : versionOf(base)}
      form={(draft, onChange, errors) => (
        <TableForm draft={draft} isNew={base === undefined} errors={errors} onChange={onChange} />
      )}
      lacks={({ name, cluster }) =>
        name.trim() === '' || cluster.trim() === '' ? t('edit.incomplete') : undefined
      }
      review={(answer) => {
        const preview = answer as ChangePreview
        return {
          content: <ChangeReview preview={preview} />,
          isBlocked: preview.checks.some(({ level }) => level === 'error'),
        }
      }}
      onClose={onClose}
    />
  )
}
