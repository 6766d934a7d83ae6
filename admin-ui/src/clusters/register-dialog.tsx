/** Registering a cluster, or changing its entry. */
import { useClusters } from '../api/queries.ts'
import type { Version } from '../changes/entry-dialog.tsx'
import { FieldsDialog } from '../changes/fields-dialog.tsx'
import { useText } from '../text/text.tsx'
import { clusterEntry, type ClusterDraft } from './cluster-entry.ts'

export function RegisterDialog(props: {
  /** Undefined: it has no entry yet. */
  readonly base?: Version<ClusterDraft> | undefined
  /** Of a cluster that is known from mappings alone. */
  readonly first?: ClusterDraft
  readonly onClose: () => void
}) {
  const { t } = useText()
  const own = props.base?.draft.name ?? props.first?.name
  const others = (useClusters().data?.clusters ?? [])
    .map(({ name }) => name)
    .filter((name) => name !== own)
  return (
    <FieldsDialog
      {...props}
      entry={clusterEntry}
      titleNew={t('clusters.register')}
      fields={[
        { name: 'name', label: t('clusters.name'), isName: true },
        { name: 'metas', label: t('form.metas'), hint: t('clusters.metasHint'), rows: 3 },
        {
          name: 'peer',
          label: t('clusters.peer'),
          hint: t('clusters.peerHint'),
          suggestions: others,
        },
        { name: 'note', label: t('tables.note'), rows: 2, isProse: true },
      ]}
      lacks={({ name, metas }) =>
        name.trim() === '' || metas.trim() === '' ? t('clusters.incomplete') : undefined
      }
    />
  )
}
