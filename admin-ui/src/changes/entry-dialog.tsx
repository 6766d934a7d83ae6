/**
 * Making or changing one thing that has a version (admin-ui.md 3.4): form, review of a dry run, then
 * save with the version that was seen. When somebody else saved in between, the versions stand side
 * by side and nothing is overwritten unseen. A change whose outcome is unknown is repeated with the
 * same key, so that it happens once. What differs between mappings, clusters, groups and users is
 * the `Entry`.
 */
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { type ReactNode, useRef, useState } from 'react'
import { ApiProblem, call, type CallOptions } from '../api/http.ts'
import { useSession } from '../api/session.tsx'
import { useMayNot } from '../app/may-not.ts'
import { Button } from '../design/button.tsx'
import { Dialog } from '../design/dialog.tsx'
import { Diff } from '../design/diff.tsx'
import { control, Field } from '../design/field.tsx'
import { Failure } from '../design/state.tsx'
import { useToast } from '../design/toast.tsx'
import { useText } from '../text/text.tsx'
import { Conflict } from './conflict.tsx'
import styles from './conflict.module.css'

/** By the API's name of the field. */
export type FieldErrors = Readonly<Record<string, string>>

/** The errors at a field; those of `metas.1` belong to `metas`. */
export function errorOf(errors: FieldErrors, field: string): string | undefined {
  const found = Object.entries(errors).flatMap(([name, message]) =>
    name === field || name.startsWith(`${field}.`) ? [message] : [],
  )
  return found.length === 0 ? undefined : [...new Set(found)].join(' · ')
}

export interface Version<Draft> {
  readonly draft: Draft
  readonly etag: string
}

export interface Entry<Draft> {
  readonly empty: Draft
  readonly nameOf: (draft: Draft) => string
  readonly pathOf: (name: string) => string
  /** Body of the PUT; undefined keys are left out. */
  readonly bodyOf: (draft: Draft) => unknown
  /** What differences are shown of, as JSON: without secrets. */
  readonly textOf: (draft: Draft) => string
  /** What the API answers, and has as `current` in a conflict. */
  readonly versionOf: (found: unknown) => Version<Draft>
  /** First words of the queries that a change makes stale. */
  readonly touches: readonly string[]
  /** A saved change can be taken back by saving what was before. */
  readonly mayUndo: boolean
  /** The API has no dry run of it: the review shows the difference alone. */
  readonly isUnchecked?: boolean
}

/** What a dry run says, for the review; without it the difference is shown alone. */
export interface Reviewed {
  readonly content: ReactNode
  /** A check forbids the change. */
  readonly isBlocked: boolean
}

export interface EntryDialogProps<Draft> {
  readonly entry: Entry<Draft>
  readonly titleNew: string
  /** What the author sees; undefined for a new one. */
  readonly base?: Version<Draft> | undefined
  /** Of a new one, when it does not begin empty. */
  readonly first?: Draft
  readonly form: (draft: Draft, onChange: (draft: Draft) => void, errors: FieldErrors) => ReactNode
  /** What is still to be given. */
  readonly lacks: (draft: Draft) => string | undefined
  readonly review?: (answer: unknown) => Reviewed
  readonly onClose: () => void
}

const UNDO_MS = 600_000

export function EntryDialog<Draft>(props: EntryDialogProps<Draft>) {
  const { entry, onClose } = props
  const { t } = useText()
  const { info } = useSession()
  const mayNot = useMayNot()
  const [base, setBase] = useState(props.base)
  const first = base?.draft ?? props.first ?? entry.empty
  const [draft, setDraft] = useState(first)
  const [reviewed, setReviewed] = useState<Reviewed>()
  const [theirs, setTheirs] = useState<{ readonly version: Version<Draft>; readonly by: string }>()
  const [reason, setReason] = useState('')
  const key = useRef(crypto.randomUUID())
  const finish = useFinish(entry, onClose)
  const name = entry.nameOf(draft).trim()
  const put = (options: CallOptions) =>
    call<unknown>(entry.pathOf(name), {
      method: 'PUT',
      body: entry.bodyOf(draft),
      ...(base === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: base.etag }),
      ...options,
    })
  const takeConflict = (error: unknown): void => {
    if (!(error instanceof ApiProblem) || error.code !== 'changed-meanwhile') return
    const { current, changedBy } = error.problem
    if (current !== undefined)
      setTheirs({ version: entry.versionOf(current), by: changedBy?.actor ?? '?' })
  }
  const check = useMutation({
    mutationFn: async () =>
      entry.isUnchecked === true
        ? undefined
        : (await put({ query: { dry_run: true }, reason: reason || 'preview' })).data,
    onSuccess: (answer) =>
      setReviewed(
        props.review?.(answer) ?? {
          content: (
            <Diff
              before={base === undefined ? '' : entry.textOf(first)}
              after={entry.textOf(draft)}
            />
          ),
          isBlocked: false,
        },
      ),
    onError: takeConflict,
  })
  const save = useMutation({
    mutationFn: () => put({ reason, idempotencyKey: key.current }),
    onSuccess: ({ data }) => finish(entry.versionOf(data), base),
    onError: (error) => {
      if (!isUnknown(error)) key.current = crypto.randomUUID()
      takeConflict(error)
    },
  })
  const failed = save.error ?? check.error
  const errors = fieldErrors(failed)
  // A review shows no fields.
  const hasField = reviewed === undefined && Object.keys(errors).length > 0
  const isChanged =
    entry.textOf(draft) !== entry.textOf(first) || name !== entry.nameOf(first).trim()
  const isBodyChanged = JSON.stringify(entry.bodyOf(draft)) !== JSON.stringify(entry.bodyOf(first))
  const back = (): void => {
    setReviewed(undefined)
    save.reset()
    check.reset()
  }
  return (
    <Dialog
      open
      wide={reviewed !== undefined || theirs !== undefined}
      title={base === undefined ? props.titleNew : t('edit.title', { name })}
      unsaved={isChanged || isBodyChanged}
      onClose={onClose}
      footer={
        theirs !== undefined ? undefined : reviewed === undefined ? (
          <>
            <Button onClick={onClose}>{t('action.cancel')}</Button>
            <Button
              look="primary"
              busy={check.isPending}
              reason={
                props.lacks(draft) ??
                (isChanged || isBodyChanged || base === undefined ? mayNot : t('edit.unchanged'))
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
                reviewed.isBlocked
                  ? t('edit.blocked')
                  : info.reasonRequired && reason.trim() === ''
                    ? t('edit.reasonNeeded')
                    : mayNot
              }
              onClick={() => save.mutate()}
            >
              {t(base === undefined ? 'edit.create' : 'edit.save', { name })}
            </Button>
          </>
        )
      }
    >
      {failed !== null && theirs === undefined && !hasField && (
        <Failure error={failed} {...(isUnknown(failed) ? { title: t('edit.unknown') } : {})} />
      )}
      {theirs !== undefined ? (
        <Conflict
          name={name}
          by={theirs.by}
          base={base === undefined ? '' : entry.textOf(base.draft)}
          theirs={entry.textOf(theirs.version.draft)}
          mine={entry.textOf(draft)}
          onTakeTheirs={onClose}
          onKeepMine={() => {
            setBase(theirs.version)
            setTheirs(undefined)
            back()
          }}
        />
      ) : reviewed === undefined ? (
        props.form(
          draft,
          (next) => {
            setDraft(next)
            check.reset()
          },
          errors,
        )
      ) : (
        <div className={styles.conflict}>
          {reviewed.content}
          <ReasonField value={reason} onChange={setReason} />
        </div>
      )}
    </Dialog>
  )
}

/** Why a change is made; mandatory where the gateway is configured so. */
export function ReasonField(props: {
  readonly value: string
  readonly onChange: (reason: string) => void
}) {
  const { t } = useText()
  const { info } = useSession()
  return (
    <Field
      label={info.reasonRequired ? t('edit.reason') : t('edit.reasonOptional')}
      hint={t('edit.reasonHint')}
    >
      {(ids) => (
        <input
          {...ids}
          className={control}
          maxLength={1000}
          value={props.value}
          onChange={({ target }) => props.onChange(target.value)}
        />
      )}
    </Field>
  )
}

function isUnknown(error: unknown): boolean {
  return error instanceof ApiProblem && ['outcome-unknown', 'no-answer'].includes(error.code)
}

/** What the API found wrong, by field; what is of no field is shown above the form. */
export function fieldErrors(error: unknown): FieldErrors {
  if (!(error instanceof ApiProblem)) return {}
  const { errors = [], code, detail } = error.problem
  if (code === 'exists') return { name: detail }
  // Those of headers are of no field either.
  return Object.fromEntries(
    errors.flatMap(({ field, message }) =>
      field === '' || field.includes('-') ? [] : [[field, message]],
    ),
  )
}

/** After a save: what it touched is read again, and the toast offers to take it back. */
function useFinish<Draft>(entry: Entry<Draft>, onClose: () => void) {
  const { t } = useText()
  const queries = useQueryClient()
  const toast = useToast()
  const refresh = (): void => {
    for (const word of [...entry.touches, 'overview', 'audit'])
      void queries.invalidateQueries({ queryKey: [word] })
  }
  return (saved: Version<Draft>, before: Version<Draft> | undefined): void => {
    refresh()
    const name = entry.nameOf(saved.draft)
    const undo = async (): Promise<void> => {
      const common = { ifMatch: saved.etag, reason: t('edit.undoReason') }
      const options: CallOptions =
        before === undefined
          ? { ...common, method: 'DELETE' }
          : { ...common, method: 'PUT', body: entry.bodyOf(before.draft) }
      try {
        await call(entry.pathOf(name), options)
        refresh()
        toast({ tone: 'ok', text: t('edit.undone', { name }) })
      } catch (error) {
        const detail = error instanceof Error ? error.message : ''
        toast({ tone: 'bad', text: t('edit.undoFailed', { name, detail }), forMs: 0 })
      }
    }
    const text = t(before === undefined ? 'edit.created' : 'edit.saved', { name })
    toast(
      entry.mayUndo
        ? {
            tone: 'ok',
            text,
            action: { label: t('action.undo'), run: () => void undo() },
            forMs: UNDO_MS,
          }
        : { tone: 'ok', text },
    )
    onClose()
  }
}
