/** Deleting one thing: what it means is said, and its name must be typed. */
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { call } from '../api/http.ts'
import { useSession } from '../api/session.tsx'
import { useMayNot } from '../app/may-not.ts'
import { Button } from '../design/button.tsx'
import { Dialog } from '../design/dialog.tsx'
import { control, Field } from '../design/field.tsx'
import { Failure } from '../design/state.tsx'
import { useToast } from '../design/toast.tsx'
import { useText } from '../text/text.tsx'
import styles from './conflict.module.css'
import { ReasonField } from './entry-dialog.tsx'

export interface Removal {
  readonly name: string
  readonly path: string
  /** The version that is seen; undefined for things without one. */
  readonly etag?: string | undefined
  readonly title: string
  /** What follows from it. */
  readonly words: string
  /** On the button. */
  readonly verb: string
  /** Told when it is done. */
  readonly done: string
  /** First words of the queries that it makes stale. */
  readonly touches: readonly string[]
}

export function RemoveDialog(props: {
  readonly removal: Removal
  readonly onClose: () => void
  readonly onRemoved?: () => void
}) {
  const { removal, onClose, onRemoved = onClose } = props
  const { t } = useText()
  const { info } = useSession()
  const mayNot = useMayNot()
  const queries = useQueryClient()
  const toast = useToast()
  const [typed, setTyped] = useState('')
  const [reason, setReason] = useState('')
  const remove = useMutation({
    mutationFn: () =>
      call(removal.path, {
        method: 'DELETE',
        reason,
        ...(removal.etag === undefined ? {} : { ifMatch: removal.etag }),
      }),
    onSuccess: () => {
      for (const word of [...removal.touches, 'overview', 'audit'])
        void queries.invalidateQueries({ queryKey: [word] })
      toast({ tone: 'ok', text: removal.done })
      onRemoved()
    },
  })
  return (
    <Dialog
      open
      title={removal.title}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button
            look="danger"
            icon="trash"
            busy={remove.isPending}
            reason={
              typed !== removal.name
                ? t('remove.typeFirst', { name: removal.name })
                : info.reasonRequired && reason.trim() === ''
                  ? t('edit.reasonNeeded')
                  : mayNot
            }
            onClick={() => remove.mutate()}
          >
            {removal.verb}
          </Button>
        </>
      }
    >
      <div className={styles.conflict}>
        {remove.isError && <Failure error={remove.error} />}
        <p>{removal.words}</p>
        <Field label={t('remove.type', { name: removal.name })}>
          {(ids) => (
            <input
              {...ids}
              className={control}
              autoFocus
              autoComplete="off"
              spellCheck={false}
              value={typed}
              onChange={({ target }) => setTyped(target.value)}
            />
          )}
        </Field>
        <ReasonField value={reason} onChange={setReason} />
      </div>
    </Dialog>
  )
}
