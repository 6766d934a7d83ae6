/** The fields of a mapping, or the same as JSON; errors stand at the field they are about. */
import { useState } from 'react'
import { useClusters, useGroups } from '../api/queries.ts'
import { errorOf, type FieldErrors } from '../changes/entry-dialog.tsx'
import { Button } from '../design/button.tsx'
import { control, Field } from '../design/field.tsx'
import { useText } from '../text/text.tsx'
import { formatRaw, isTableName, parseRaw, rawErrors, type TableDraft } from './table-draft.ts'
import styles from './table-form.module.css'

export function TableForm(props: {
  readonly draft: TableDraft
  readonly isNew: boolean
  readonly errors: FieldErrors
  readonly onChange: (draft: TableDraft) => void
}) {
  const { draft, isNew, errors, onChange } = props
  const { t } = useText()
  const [raw, setRaw] = useState<string>()
  const parsed = raw === undefined ? undefined : parseRaw(raw, draft.name)
  const set = (values: Partial<TableDraft>): void => onChange({ ...draft, ...values })
  return (
    <div className={styles.form}>
      {isNew && (
        <Field
          label={t('tables.name')}
          error={
            errors['name'] ??
            (draft.name === '' || isTableName(draft.name.trim()) ? undefined : t('form.badName'))
          }
        >
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
      <div className={styles.toggle}>
        <Button
          look="plain"
          aria-pressed={raw !== undefined}
          reason={parsed?.ok === false ? t('form.fixJson') : undefined}
          onClick={() => setRaw(raw === undefined ? formatRaw(draft) : undefined)}
        >
          {raw === undefined ? t('form.asJson') : t('form.asForm')}
        </Button>
      </div>
      {raw === undefined ? (
        <Fields draft={draft} errors={errors} set={set} />
      ) : (
        <Field
          label="JSON"
          hint={t('form.jsonHint')}
          error={
            parsed?.ok === false
              ? t('form.jsonError', { line: parsed.line ?? '?', message: parsed.message })
              : rawErrors(raw, errors)
                  .map(({ line, message }) => t('form.jsonError', { line: line ?? '?', message }))
                  .join('\n') || undefined
          }
        >
          {(ids) => (
            <textarea
              {...ids}
              className={`${control} ${styles.raw}`}
              spellCheck={false}
              value={raw}
              onChange={({ target }) => {
                setRaw(target.value)
                const next = parseRaw(target.value, draft.name)
                if (next.ok) onChange(next.draft)
              }}
            />
          )}
        </Field>
      )}
    </div>
  )
}

function Fields(props: {
  readonly draft: TableDraft
  readonly errors: FieldErrors
  readonly set: (values: Partial<TableDraft>) => void
}) {
  const { draft, errors, set } = props
  const { t } = useText()
  const clusters = useClusters().data?.clusters ?? []
  const groups = useGroups().data?.groups ?? []
  const known = clusters.find(({ name }) => name === draft.cluster.trim())
  return (
    <>
      <Field
        label={t('tables.cluster')}
        error={errorOf(errors, 'cluster')}
        hint={t('form.clusterHint')}
      >
        {(ids) => (
          <>
            <input
              {...ids}
              className={control}
              list="form-clusters"
              spellCheck={false}
              value={draft.cluster}
              onChange={({ target }) => {
                const chosen = clusters.find(({ name }) => name === target.value)
                set({
                  cluster: target.value,
                  ...(chosen === undefined ? {} : { metas: chosen.metas.join('\n') }),
                })
              }}
            />
            <datalist id="form-clusters">
              {clusters.map(({ name }) => (
                <option key={name} value={name} />
              ))}
            </datalist>
          </>
        )}
      </Field>
      <Field
        label={t('form.metas')}
        error={errorOf(errors, 'metas')}
        hint={
          known !== undefined && known.metas.length > 0
            ? t('form.metasOf', { cluster: known.name, metas: known.metas.join(', ') })
            : t('form.metasHint')
        }
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
      <div className={styles.pair}>
        <Field label={t('form.group')} error={errorOf(errors, 'group')}>
          {(ids) => (
            <>
              <input
                {...ids}
                className={control}
                list="form-groups"
                value={draft.group}
                onChange={({ target }) => set({ group: target.value })}
              />
              <datalist id="form-groups">
                {groups.map(({ name }) => (
                  <option key={name} value={name} />
                ))}
              </datalist>
            </>
          )}
        </Field>
        <Field
          label={t('form.standby')}
          error={errorOf(errors, 'standby')}
          hint={t('form.standbyHint')}
        >
          {(ids) => (
            <input
              {...ids}
              className={control}
              list="form-clusters"
              value={draft.standby}
              onChange={({ target }) => set({ standby: target.value })}
            />
          )}
        </Field>
      </div>
      <Field label={t('form.stale')} error={errorOf(errors, 'stale')} hint={t('form.staleHint')}>
        {(ids) => (
          <input
            {...ids}
            className={control}
            list="form-stale"
            placeholder={t('form.staleNone')}
            value={draft.stale}
            onChange={({ target }) => set({ stale: target.value })}
          />
        )}
      </Field>
      <datalist id="form-stale">
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
      <label className={styles.choice}>
        <input
          type="checkbox"
          checked={draft.frozen}
          onChange={({ target }) => set({ frozen: target.checked })}
        />
        <span>{t('form.frozen')}</span>
      </label>
    </>
  )
}
