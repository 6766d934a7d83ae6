/** Making a group, or changing whom it has. */
import type { Version } from '../changes/entry-dialog.tsx'
import { FieldsDialog } from '../changes/fields-dialog.tsx'
import { useText } from '../text/text.tsx'
import { type GroupDraft, groupEntry } from './group-entry.ts'

const stales = ['serve', 'bounded:60000', 'fail'] as const

export function GroupDialog(props: {
  /** Undefined: it has no entry yet. */
  readonly base?: Version<GroupDraft> | undefined
  /** Of a group that is known from mappings alone. */
  readonly first?: GroupDraft
  readonly onClose: () => void
}) {
  const { t } = useText()
  return (
    <FieldsDialog
      {...props}
      entry={groupEntry}
      titleNew={t('groups.new')}
      fields={[
        { name: 'name', label: t('groups.name'), isName: true },
        { name: 'patterns', label: t('groups.patterns'), hint: t('groups.patternsHint'), rows: 2 },
        { name: 'members', label: t('groups.members'), hint: t('groups.membersHint'), rows: 5 },
        {
          name: 'stale',
          label: t('form.stale'),
          hint: t('form.staleHint'),
          placeholder: t('form.staleNone'),
          suggestions: stales,
        },
        { name: 'note', label: t('tables.note'), rows: 2, isProse: true },
      ]}
      lacks={({ name }) => (name.trim() === '' ? t('groups.incomplete') : undefined)}
    />
  )
}
