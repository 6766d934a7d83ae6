/**
 * Making or changing one mapping (admin-ui.md 3.4): form, then review of a dry run, then save with
 * the version that was seen. When somebody else saved in between, the three versions stand side by
 * side and nothing is overwritten unseen. A change whose outcome is unknown is repeated with the same
 * key, so it happens once.
 */
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useRef, useState } from 'react'
import type { ChangePreview, Table, TableEdit } from '../../../gateway/admin/api/tables.ts'
import { ApiProblem, call, type CallOptions } from '../api/http.ts'
import { tablePath } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { Button } from '../design/button.tsx'
import { Dialog } from '../design/dialog.tsx'
import { control, Field } from '../design/field.tsx'
import { Failure } from '../design/state.tsx'
import { useToast } from '../design/toast.tsx'
import { useText } from '../text/text.tsx'
import { ChangeReview } from './change-review.tsx'
import { Conflict } from './conflict.tsx'
import { draftOf, editOf, emptyDraft, isSameDraft, type TableDraft } from './table-draft.ts'
import { type FieldErrors, TableForm } from './table-form.tsx'

const UNDO_MS = 600_000

/** `base`: what the author sees; undefined for a new mapping. */
export function EditDialog(props: { readonly base?: Table; readonly onClose: () => void }) {
  const { t } = useText()
  const { info } = useSession()
  const [base, setBase] = useState(props.base)
  const first = base === undefined ? emptyDraft : draftOf(base)
  const [draft, setDraft] = useState<TableDraft>(first)
  const [preview, setPreview] = useState<ChangePreview>()
  const [theirs, setTheirs] = useState<{ readonly table: Table; readonly by: string }>()
  const [reason, setReason] = useState('')
  const key = useRef(crypto.randomUUID())
  const finish = useFinish(props.onClose)
  const put = (options: CallOptions) =>
    call<Table>(tablePath(draft.name.trim()), {
      method: 'PUT',
      body: editOf(draft),
      ...(base === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: base.etag }),
      ...options,
    })
  const check = useMutation({
    mutationFn: async () =>
      (await put({ query: { dry_run: true }, reason: reason || 'preview' }))
        .data as unknown as ChangePreview,
    onSuccess: setPreview,
    onError: (error) => takeConflict(error, setTheirs),
  })
  const save = useMutation({
    mutationFn: () => put({ reason, idempotencyKey: key.current }),
    onSuccess: ({ data, etag }) => finish(data, etag ?? data.etag, base),
    onError: (error) => {
      if (!isUnknown(error)) key.current = crypto.randomUUID()
      takeConflict(error, setTheirs)
    },
  })
  const failed = save.error ?? check.error
  const errors = fieldErrors(failed)
  const isBlocked = preview?.checks.some(({ level }) => level === 'error') === true
  const needsReason = info.reasonRequired && reason.trim() === ''
  const back = (): void => {
    setPreview(undefined)
    save.reset()
    check.reset()
  }
  const title = base === undefined ? t('edit.titleNew') : t('edit.title', { name: base.name })
  return (
    <Dialog
      open
      wide={preview !== undefined || theirs !== undefined}
      title={title}
      unsaved={!isSameDraft(draft, first)}
      onClose={props.onClose}
      footer={
        theirs !== undefined ? undefined : preview === undefined ? (
          <>
            <Button onClick={props.onClose}>{t('action.cancel')}</Button>
            <Button
              look="primary"
              busy={check.isPending}
              reason={
                draft.name.trim() === '' || draft.cluster.trim() === ''
                  ? t('edit.incomplete')
                  : isSameDraft(draft, first)
                    ? t('edit.unchanged')
                    : undefined
              }
              onClick={() => check.mutate()}
            >
              {t('edit.review')}
            </Button>
          </>
        ) : (
          <>
            <Button onClick={back}>{t('edit.back')}</Button>
            <Button
              look="primary"
              busy={save.isPending}
              reason={
                isBlocked ? t('edit.blocked') : needsReason ? t('edit.reasonNeeded') : undefined
              }
              onClick={() => save.mutate()}
            >
              {base === undefined
                ? t('edit.create', { name: draft.name.trim() })
                : t('edit.save', { name: base.name })}
            </Button>
          </>
        )
      }
    >
      {failed !== null && theirs === undefined && Object.keys(errors).length === 0 && (
        <Failure error={failed} {...(isUnknown(failed) ? { title: t('edit.unknown') } : {})} />
      )}
      {theirs !== undefined ? (
        <Conflict
          base={base}
          theirs={theirs.table}
          by={theirs.by}
          mine={draft}
          onTakeTheirs={props.onClose}
          onKeepMine={() => {
            setBase(theirs.table)
            setTheirs(undefined)
            back()
          }}
        />
      ) : preview === undefined ? (
        <TableForm
          draft={draft}
          isNew={base === undefined}
          errors={errors}
          onChange={(next) => {
            setDraft(next)
            check.reset()
          }}
        />
      ) : (
        <>
          <ChangeReview preview={preview} />
          <Field
            label={info.reasonRequired ? t('edit.reason') : t('edit.reasonOptional')}
            hint={t('edit.reasonHint')}
          >
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
        </>
      )}
    </Dialog>
  )
}

function isUnknown(error: unknown): boolean {
  return error instanceof ApiProblem && ['outcome-unknown', 'no-answer'].includes(error.code)
}

function fieldErrors(error: unknown): FieldErrors {
  if (!(error instanceof ApiProblem)) return {}
  const { errors = [], code, detail } = error.problem
  if (code === 'exists') return { name: detail }
  return Object.fromEntries(errors.map(({ field, message }) => [field, message]))
}

/** Somebody else saved since: their version is in the problem. */
function takeConflict(
  error: unknown,
  set: (theirs: { readonly table: Table; readonly by: string }) => void,
): void {
  if (!(error instanceof ApiProblem) || error.code !== 'changed-meanwhile') return
  const { current, changedBy } = error.problem
  if (current !== undefined) set({ table: current as Table, by: changedBy?.actor ?? '?' })
}

/** After a save: the lists are read again, and the toast offers to take it back. */
function useFinish(onClose: () => void) {
  const { t } = useText()
  const queries = useQueryClient()
  const toast = useToast()
  const refresh = (): void => {
    for (const word of ['tables', 'table', 'history', 'overview', 'audit'])
      void queries.invalidateQueries({ queryKey: [word] })
  }
  return (saved: Table, etag: string, before: Table | undefined): void => {
    refresh()
    const undo = async (): Promise<void> => {
      const options: CallOptions =
        before === undefined
          ? { method: 'DELETE', ifMatch: etag, reason: t('edit.undoReason') }
          : {
              method: 'PUT',
              ifMatch: etag,
              reason: t('edit.undoReason'),
              body: editOf(draftOf(before)) satisfies TableEdit,
            }
      try {
        await call(tablePath(saved.name), options)
        refresh()
        toast({ tone: 'ok', text: t('edit.undone', { name: saved.name }) })
      } catch (error) {
        const detail = error instanceof Error ? error.message : ''
        toast({ tone: 'bad', text: t('edit.undoFailed', { name: saved.name, detail }), forMs: 0 })
      }
    }
    toast({
      tone: 'ok',
      text: t(before === undefined ? 'edit.created' : 'edit.saved', { name: saved.name }),
      action: { label: t('action.undo'), run: () => void undo() },
      forMs: UNDO_MS,
    })
    onClose()
  }
}
