/** Deleting one mapping: what it means is said, and its name must be typed. */
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import type { Table } from '../../../gateway/admin/api/tables.ts'
import { call } from '../api/http.ts'
import { tablePath } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { Button } from '../design/button.tsx'
import { Dialog } from '../design/dialog.tsx'
import { control, Field } from '../design/field.tsx'
import { Failure } from '../design/state.tsx'
import { useToast } from '../design/toast.tsx'
import { useText } from '../text/text.tsx'
import styles from './conflict.module.css'

export function RemoveDialog(props: {
  readonly table: Table
  readonly onClose: () => void
  readonly onRemoved: () => void
}) {
  const { table } = props
  const { t } = useText()
  const { info } = useSession()
  const queries = useQueryClient()
  const toast = useToast()
  const [typed, setTyped] = useState('')
  const [reason, setReason] = useState('')
  const remove = useMutation({
    mutationFn: () =>
      call(tablePath(table.name), { method: 'DELETE', ifMatch: table.etag, reason }),
    onSuccess: () => {
      for (const word of ['tables', 'overview', 'history', 'audit'])
        void queries.invalidateQueries({ queryKey: [word] })
      toast({ tone: 'ok', text: t('remove.done', { name: table.name }) })
      props.onRemoved()
    },
  })
  const needsReason = info.reasonRequired && reason.trim() === ''
  return (
    <Dialog
      open
      title={t('remove.title', { name: table.name })}
      onClose={props.onClose}
      footer={
        <>
          <Button onClick={props.onClose}>{t('action.cancel')}</Button>
          <Button
            look="danger"
            icon="trash"
            busy={remove.isPending}
            reason={
              typed !== table.name
                ? t('remove.typeFirst')
                : needsReason
                  ? t('edit.reasonNeeded')
                  : undefined
            }
            onClick={() => remove.mutate()}
          >
            {t('remove.button', { name: table.name })}
          </Button>
        </>
      }
    >
      <div className={styles.conflict}>
        {remove.isError && <Failure error={remove.error} />}
        <p>{t('remove.words')}</p>
        <Field label={t('remove.type', { name: table.name })}>
          {(ids) => (
            <input
              {...ids}
              className={control}
              autoComplete="off"
              spellCheck={false}
              value={typed}
              onChange={({ target }) => setTyped(target.value)}
            />
          )}
        </Field>
        <Field label={info.reasonRequired ? t('edit.reason') : t('edit.reasonOptional')}>
          {(ids) => (
            <input
              {...ids}
              className={control}
              maxLength={1000}
              value={reason}
              onChange={({ target }) => setReason(target.value)}
            />
          )}
        </Field>
      </div>
    </Dialog>
  )
}
