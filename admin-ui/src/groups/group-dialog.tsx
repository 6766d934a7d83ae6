/** Making a group, or changing whom it has. */
import { EntryDialog, errorOf, type FieldErrors, type Version } from '../changes/entry-dialog.tsx'
import { control, Field, Form } from '../design/field.tsx'
import { useText } from '../text/text.tsx'
import { type GroupDraft, groupEntry } from './group-entry.ts'

export function GroupDialog(props: {
  /** Undefined: it has no entry yet. */
  readonly base?: Version<GroupDraft> | undefined
  /** Of a group that is known from mappings alone. */
  readonly first?: GroupDraft
  readonly onClose: () => void
}) {
  const { t } = useText()
  const { base, first, onClose } = props
  return (
    <EntryDialog
      entry={groupEntry}
      titleNew={t('groups.new')}
      base={base}
      {...(first === undefined ? {} : { first })}
      form={(draft, onChange, errors) => (
        <GroupForm
          draft={draft}
          hasName={base === undefined && first === undefined}
          errors={errors}
          onChange={onChange}
        />
      )}
      lacks={({ name }) => (name.trim() === '' ? t('groups.incomplete') : undefined)}
      onClose={onClose}
    />
  )
}

function GroupForm(props: {
  readonly draft: GroupDraft
  readonly hasName: boolean
  readonly errors: FieldErrors
  readonly onChange: (draft: GroupDraft) => void
}) {
  const { draft, errors, onChange } = props
  const { t } = useText()
  const set = (values: Partial<GroupDraft>): void => onChange({ ...draft, ...values })
  return (
    <Form>
      {props.hasName && (
        <Field label={t('groups.name')} error={errorOf(errors, 'name')}>
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
        label={t('groups.patterns')}
        hint={t('groups.patternsHint')}
        error={errorOf(errors, 'patterns')}
      >
        {(ids) => (
          <textarea
            {...ids}
            className={control}
            rows={2}
            spellCheck={false}
            value={draft.patterns}
            onChange={({ target }) => set({ patterns: target.value })}
          />
        )}
      </Field>
      <Field
        label={t('groups.members')}
        hint={t('groups.membersHint')}
        error={errorOf(errors, 'members')}
      >
        {(ids) => (
          <textarea
            {...ids}
            className={control}
            rows={5}
            spellCheck={false}
            value={draft.members}
            onChange={({ target }) => set({ members: target.value })}
          />
        )}
      </Field>
      <Field label={t('form.stale')} hint={t('form.staleHint')} error={errorOf(errors, 'stale')}>
        {(ids) => (
          <input
            {...ids}
            className={control}
            list="group-stale"
            placeholder={t('form.staleNone')}
            value={draft.stale}
            onChange={({ target }) => set({ stale: target.value })}
          />
        )}
      </Field>
      <datalist id="group-stale">
        <option value="serve" />
        <option value="bounded:60000" />
        <option value="fail" />
      </datalist>
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
