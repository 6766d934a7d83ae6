/**
 * Many changes before they are made (admin-ui.md 3.4, 3.5): a preview by kind, each item with its
 * difference, a box to leave it out; then the apply with its progress, and what became of each item.
 * The same view serves bulk edits, imports, replaced metas and adopted tables.
 */
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useCallback, useMemo, useRef, useState } from 'react'
import type { Approval } from '../../../gateway/admin/api/approvals.ts'
import type { ApplyResult, ChangeSet } from '../../../gateway/admin/api/changes.ts'
import type { ServerEvent } from '../../../gateway/admin/api/events.ts'
import { useEvents } from '../api/events.ts'
import { call } from '../api/http.ts'
import { useSession } from '../api/session.tsx'
import { Button } from '../design/button.tsx'
import { control, Field } from '../design/field.tsx'
import { Failure } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'
import { ApplyReport } from './apply-report.tsx'
import { AskedReport } from './asked-report.tsx'
import { ChangeItems, mayBeApplied } from './change-items.tsx'
import styles from './change-set.module.css'
import { ReasonField } from './entry-dialog.tsx'

/** Of an apply or an approval that runs, by its events. */
export function useProgress(token: string) {
  const [progress, setProgress] = useState<ServerEvent['progress']>()
  useEvents(
    useCallback(
      (events) => {
        const last = events.findLast(({ topic, name }) => topic === 'apply' && name === token)
        if (last?.progress !== undefined) setProgress(last.progress)
      },
      [token],
    ),
  )
  return progress
}

export function ChangeSetReview(props: {
  readonly changes: ChangeSet
  /** What is changed with them and is no table, in words. */
  readonly also?: string | undefined
  readonly onBack: () => void
  /** Carried out, or asked for; what came of it is shown. */
  readonly onApplied?: () => void
  readonly onClose: () => void
}) {
  const { changes, also, onBack, onApplied, onClose } = props
  const { t } = useText()
  const { info } = useSession()
  const queries = useQueryClient()
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set())
  const [reason, setReason] = useState('')
  const [typed, setTyped] = useState('')
  const key = useRef(crypto.randomUUID())
  const progress = useProgress(changes.token)
  const included = useMemo(
    () => changes.items.filter((item) => mayBeApplied(item) && !left.has(item.name)),
    [changes, left],
  )
  const needsApproval = info.approvalAbove > 0 && included.length > info.approvalAbove
  const deletions = included.filter((item) => item.kind === 'delete').length
  const apply = useMutation({
    mutationFn: async () =>
      (
        await call<ApplyResult | Approval>('/tables:apply', {
          method: 'POST',
          body: { token: changes.token, include: included.map(({ name }) => name) },
          reason,
          idempotencyKey: key.current,
        })
      ).data,
    onSuccess: () => {
      onApplied?.()
      void queries.invalidateQueries()
    },
  })
  if (apply.data !== undefined)
    return 'results' in apply.data ? (
      <ApplyReport result={apply.data} onClose={onClose} />
    ) : (
      <AskedReport approval={apply.data} onClose={onClose} />
    )
  const total = progress?.total ?? included.length
  const done = progress === undefined ? 0 : progress.done + progress.failed + progress.skipped
  return (
    <div className={styles.review}>
      <ChangeItems
        items={changes.items}
        left={left}
        onToggle={(name) => {
          const next = new Set(left)
          if (!next.delete(name)) next.add(name)
          setLeft(next)
        }}
      />
      {also !== undefined && <p className={styles.hint}>{also}</p>}
      {needsApproval && (
        <Status tone="info" icon="user" wraps>
          {t('changes.needsApproval', { above: info.approvalAbove })}
        </Status>
      )}
      {apply.isError && <Failure error={apply.error} />}
      {apply.isPending ? (
        <div className={styles.progress} aria-live="polite">
          <progress max={total} value={done} aria-label={t('changes.progress')} />
          {t('changes.progressOf', { done, total })}
        </div>
      ) : (
        <div className={styles.confirm}>
          <ReasonField value={reason} onChange={setReason} />
          {deletions > 0 && <TypeDeletions count={deletions} typed={typed} onChange={setTyped} />}
        </div>
      )}
      <div className={styles.actions}>
        <Button onClick={onBack}>{t('edit.back')}</Button>
        <Button
          look={deletions > 0 ? 'danger' : 'primary'}
          busy={apply.isPending}
          reason={
            included.length === 0 && also === undefined
              ? t('changes.nothing')
              : info.reasonRequired && reason.trim() === ''
                ? t('edit.reasonNeeded')
                : deletions > 0 && typed !== String(deletions)
                  ? t('changes.typeFirst')
                  : undefined
          }
          onClick={() => apply.mutate()}
        >
          {t(needsApproval ? 'changes.ask' : 'changes.apply', { count: included.length })}
        </Button>
      </div>
    </div>
  )
}

/** Deletions are confirmed by their number. */
export function TypeDeletions(props: {
  readonly count: number
  readonly typed: string
  readonly onChange: (typed: string) => void
}) {
  const { count, typed, onChange } = props
  const { t } = useText()
  return (
    <Field
      label={t('changes.typeDeletions', { count: count })}
      hint={t('changes.typeHint', { number: String(count) })}
    >
      {(ids) => (
        <input
          {...ids}
          className={control}
          inputMode="numeric"
          autoComplete="off"
          value={typed}
          onChange={({ target }) => onChange(target.value)}
        />
      )}
    </Field>
  )
}
