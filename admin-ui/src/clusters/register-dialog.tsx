/** Registering a cluster, or changing its entry. */
import { useClusters } from '../api/queries.ts'
import { EntryDialog, errorOf, type FieldErrors, type Version } from '../changes/entry-dialog.tsx'
import { control, Field, Form } from '../design/field.tsx'
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
  const { base, first, onClose } = props
  return (
    <EntryDialog
      entry={clusterEntry}
      titleNew={t('clusters.register')}
      base={base}
      {...(first === undefined ? {} : { first })}
      form={(draft, onChange, errors) => (
        <ClusterForm
          draft={draft}
          hasName={base === undefined && first === undefined}
          errors={errors}
          onChange={onChange}
        />
      )}
      lacks={({ name, metas }) =>
        name.trim() === '' || metas.trim() === '' ? t('clusters.incomplete') : undefined
      }
      onClose={onClose}
    />
  )
}

function ClusterForm(props: {
  readonly draft: ClusterDraft
  readonly hasName: boolean
  readonly errors: FieldErrors
  readonly onChange: (draft: ClusterDraft) => void
}) {
  const { draft, errors, onChange } = props
  const { t } = useText()
  const others = (useClusters().data?.clusters ?? []).filter(({ name }) => name !== draft.name)
  const set = (values: Partial<ClusterDraft>): void => onChange({ ...draft, ...values })
  return (
    <Form>
      {props.hasName && (
        <Field label={t('clusters.name')} error={errorOf(errors, 'name')}>
          {(ids) => (
            <input
              {...ids}
              className={control}
              autoFocus
              spellCheck={false}
              value={draft.name}
              onChange={({ target }) => set({ name: target.value })}
            />
          )}
        </Field>
      )}
      <Field
        label={t('form.metas')}
        hint={t('clusters.metasHint')}
        error={errorOf(errors, 'metas')}
      >
        {(ids) => (
          <textarea
            {...ids}
            className={control}
            rows={3}
            spellCheck={false}
            value={draft.metas}
            onChange={({ target }) => set({ metas: target.value })}
          />
        )}
      </Field>
      <Field
        label={t('clusters.peer')}
        hint={t('clusters.peerHint')}
        error={errorOf(errors, 'peer')}
      >
        {(ids) => (
          <>
            <input
              {...ids}
              className={control}
              list="cluster-peers"
              spellCheck={false}
              value={draft.peer}
              onChange={({ target }) => set({ peer: target.value })}
            />
            <datalist id="cluster-peers">
              {others.map(({ name }) => (
                <option key={name} value={name} />
              ))}
            </datalist>
          </>
        )}
      </Field>
      <Field label={t('tables.note')} error={errorOf(errors, 'note')}>
        {(ids) => (
          <textarea
            {...ids}
            className={control}
            rows={2}
            value={draft.note}
            onChange={({ target }) => set({ note: target.value })}
          />
        )}
      </Field>
    </Form>
  )
}
