/** The same edit for many tables: what shall differ, then the preview of every single change. */
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import type {
  BulkEditRequest,
  ChangeSet,
  TableSelection,
} from '../../../gateway/admin/api/changes.ts'
import type { TablePatch } from '../../../gateway/admin/api/tables.ts'
import { call } from '../api/http.ts'
import { useClusters, useGroups } from '../api/queries.ts'
import { Button } from '../design/button.tsx'
import { Dialog } from '../design/dialog.tsx'
import { control, Field } from '../design/field.tsx'
import { Failure } from '../design/state.tsx'
import { metasOf } from '../tables/table-draft.ts'
import { type TextKey, useText } from '../text/text.tsx'
import styles from './change-set.module.css'
import { ChangeSetReview } from './change-set.tsx'
import { errorOf, fieldErrors } from './entry-dialog.tsx'

export type BulkKind = 'cluster' | 'metas' | 'group' | 'freeze' | 'thaw' | 'delete'

const titles: Readonly<Record<BulkKind, TextKey>> = {
  cluster: 'bulk.cluster',
  metas: 'bulk.metas',
  group: 'bulk.group',
  freeze: 'bulk.freeze',
  thaw: 'bulk.thaw',
  delete: 'bulk.delete',
}

/** What the API is asked for; undefined while something is still to be given. */
function requestOf(
  kind: BulkKind,
  text: string,
  select: TableSelection,
): BulkEditRequest | undefined {
  const value = text.trim()
  const patchOf = (patch: TablePatch): BulkEditRequest => ({ select, patch })
  switch (kind) {
    case 'cluster':
      return value === '' ? undefined : patchOf({ cluster: value })
    case 'metas': {
      const metas = metasOf(text)
      return metas.length === 0 ? undefined : patchOf({ metas: [...metas] })
    }
    case 'group':
      return patchOf({ group: value === '' ? null : value })
    case 'freeze':
      return patchOf({ frozen: true })
    case 'thaw':
      return patchOf({ frozen: null })
    case 'delete':
      return { select, delete: true }
    default:
      return kind satisfies never
  }
}

export function BulkDialog(props: {
  readonly kind: BulkKind
  readonly select: TableSelection
  readonly count: number
  /** `isApplied`: the tables are no longer what was selected. */
  readonly onClose: (isApplied: boolean) => void
}) {
  const { kind, select, count } = props
  const [isApplied, setApplied] = useState(false)
  const onClose = (): void => props.onClose(isApplied)
  const { t } = useText()
  const [text, setText] = useState('')
  const request = requestOf(kind, text, select)
  const preview = useMutation({
    mutationFn: async (body: BulkEditRequest) =>
      (await call<ChangeSet>('/tables:preview', { method: 'POST', body })).data,
  })
  const wrong = errorOf(fieldErrors(preview.error), 'patch')
  return (
    <Dialog
      open
      wide={preview.data !== undefined}
      title={t(titles[kind], { count })}
      unsaved={preview.data !== undefined && !isApplied}
      onClose={onClose}
      footer={
        preview.data === undefined ? (
          <>
            <Button onClick={onClose}>{t('action.cancel')}</Button>
            <Button
              look="primary"
              busy={preview.isPending}
              reason={request === undefined ? t('bulk.incomplete') : undefined}
              onClick={() => request !== undefined && preview.mutate(request)}
            >
              {t('edit.review')}
            </Button>
          </>
        ) : undefined
      }
    >
      {preview.data !== undefined ? (
        <ChangeSetReview
          changes={preview.data}
          onBack={() => preview.reset()}
          onApplied={() => setApplied(true)}
          onClose={onClose}
        />
      ) : (
        <div className={styles.review}>
          {preview.isError && wrong === undefined && <Failure error={preview.error} />}
          <BulkField
            kind={kind}
            text={text}
            error={wrong}
            onChange={(next) => {
              setText(next)
              preview.reset()
            }}
          />
          <p className={styles.hint}>{t('bulk.hint', { count })}</p>
        </div>
      )}
    </Dialog>
  )
}

function BulkField(props: {
  readonly kind: BulkKind
  readonly text: string
  readonly error: string | undefined
  readonly onChange: (text: string) => void
}) {
  const { kind, text, error, onChange } = props
  const { t } = useText()
  const clusters = useClusters().data?.clusters ?? []
  const groups = useGroups().data?.groups ?? []
  if (kind === 'metas')
    return (
      <Field label={t('form.metas')} hint={t('bulk.metasHint')} error={error}>
        {(ids) => (
          <textarea
            {...ids}
            className={control}
            value={text}
            onChange={({ target }) => onChange(target.value)}
          />
        )}
      </Field>
    )
  if (kind !== 'cluster' && kind !== 'group') return null
  const names = (kind === 'cluster' ? clusters : groups).map(({ name }) => name)
  return (
    <Field
      label={t(kind === 'cluster' ? 'tables.cluster' : 'form.group')}
      hint={t(kind === 'cluster' ? 'bulk.clusterHint' : 'bulk.groupHint')}
      error={error}
    >
      {(ids) => (
        <>
          <input
            {...ids}
            className={control}
            list="bulk-names"
            value={text}
            onChange={({ target }) => onChange(target.value)}
          />
          <datalist id="bulk-names">
            {names.map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </>
      )}
    </Field>
  )
}
