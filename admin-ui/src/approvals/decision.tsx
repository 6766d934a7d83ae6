/**
 * Approving, rejecting or withdrawing a change that waits, with a reason. Who asked for it sees why
 * the first two are for somebody else.
 */
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useRef, useState } from 'react'
import type { Approval } from '../../../gateway/admin/api/approvals.ts'
import { ApiProblem, call } from '../api/http.ts'
import { useSession } from '../api/session.tsx'
import { useMayNot } from '../app/may-not.ts'
import { TypeDeletions, useProgress } from '../changes/change-set.tsx'
import { ReasonField } from '../changes/entry-dialog.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { Failure } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'
import styles from './approvals.module.css'

type Verb = 'approve' | 'reject' | 'withdraw'

/** As the API has it: nobody carries it out any more. */
const LEFT_MS = 30_000

function isLeft({ state, progress }: Approval): boolean {
  return state === 'applying' && Date.parse(progress?.at ?? '') + LEFT_MS < Date.now()
}

function useDecide(id: string, reason: string) {
  const queries = useQueryClient()
  // The same decision again has the same key, so that it happens once.
  const keys = useRef<Partial<Record<Verb, string>>>({})
  return useMutation({
    mutationFn: async (verb: Verb) => {
      const idempotencyKey = (keys.current[verb] ??= crypto.randomUUID())
      await call(`/approvals/${id}:${verb}`, { method: 'POST', reason, idempotencyKey })
    },
    onError: (error, verb) => {
      const isUnknown =
        error instanceof ApiProblem && ['outcome-unknown', 'no-answer'].includes(error.code)
      if (!isUnknown) delete keys.current[verb]
    },
    onSettled: () => queries.invalidateQueries(),
  })
}

export function Decision({ approval }: { readonly approval: Approval }) {
  const { id, state, mine, counts } = approval
  const { t } = useText()
  const { info } = useSession()
  const [reason, setReason] = useState('')
  const [typed, setTyped] = useState('')
  const mayNot = useMayNot('tables.edit')
  const cutOff = useMayNot()
  const decide = useDecide(id, reason)
  const isOpen = state === 'pending' || isLeft(approval)
  if (!isOpen && !decide.isPending && !decide.isError) return null
  const unreasoned =
    info.reasonRequired && reason.trim() === '' ? t('edit.reasonNeeded') : undefined
  const notMe = mine ? t('approvals.notYours') : (mayNot ?? unreasoned)
  const isTyped = counts.delete === 0 || typed === String(counts.delete)
  const busy = (verb: Verb): boolean => decide.isPending && decide.variables === verb
  return (
    <Card title={t('approvals.decision')}>
      <div className={styles.stack}>
        {decide.isError && <Failure error={decide.error} />}
        {decide.isPending && decide.variables === 'approve' && <Progress approval={approval} />}
        {isOpen && (
          <>
            <p>{t(state === 'applying' ? 'approvals.leftWords' : 'approvals.words')}</p>
            {mine && (
              <Status tone="info" icon="user" wraps>
                {t('approvals.notYours')}
              </Status>
            )}
            <div className={styles.confirm}>
              <ReasonField value={reason} onChange={setReason} />
              {counts.delete > 0 && !mine && (
                <TypeDeletions count={counts.delete} typed={typed} onChange={setTyped} />
              )}
            </div>
            <div className={styles.actions}>
              {state === 'pending' && mine && (
                <Button
                  icon="undo"
                  busy={busy('withdraw')}
                  reason={cutOff ?? unreasoned}
                  onClick={() => decide.mutate('withdraw')}
                >
                  {t('approvals.withdraw')}
                </Button>
              )}
              {state === 'pending' && (
                <Button
                  icon="close"
                  busy={busy('reject')}
                  reason={notMe}
                  onClick={() => decide.mutate('reject')}
                >
                  {t('approvals.reject')}
                </Button>
              )}
              <Button
                look={counts.delete > 0 ? 'danger' : 'primary'}
                icon="check"
                busy={busy('approve')}
                reason={notMe ?? (isTyped ? undefined : t('changes.typeFirst'))}
                onClick={() => decide.mutate('approve')}
              >
                {t(state === 'applying' ? 'approvals.goOn' : 'approvals.approve')}
              </Button>
            </div>
          </>
        )}
      </div>
    </Card>
  )
}

function Progress({ approval: { id, counts } }: { readonly approval: Approval }) {
  const { t } = useText()
  const progress = useProgress(id)
  const total = counts.create + counts.change + counts.delete
  const { done = 0, failed = 0, skipped = 0 } = progress ?? {}
  const settled = done + failed + skipped
  return (
    <div aria-live="polite">
      <progress max={total} value={settled} aria-label={t('changes.progress')} />{' '}
      {t('changes.progressOf', { done: settled, total })}
    </div>
  )
}
