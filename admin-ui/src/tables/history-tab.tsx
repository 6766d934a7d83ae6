/** All versions of a mapping, external edits included; two of them compared, one of them restored. */
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import type { ChangePreview, HistoryEntry, Table } from '../../../gateway/admin/api/tables.ts'
import { call, type CallOptions } from '../api/http.ts'
import { tablePath, useTableHistory } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { useMayNot } from '../app/may-not.ts'
import { actionWord } from '../audit/audit-words.ts'
import { ReasonField } from '../changes/entry-dialog.tsx'
import { Ago } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { Dialog } from '../design/dialog.tsx'
import { Diff } from '../design/diff.tsx'
import { Empty, Failure, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { useToast } from '../design/toast.tsx'
import { useText } from '../text/text.tsx'
import { ChangeReview } from './change-review.tsx'
import styles from './table-page.module.css'

export function HistoryTab(props: {
  readonly name: string
  /** Undefined: deleted, and may be brought back. */
  readonly table: Table | undefined
}) {
  const { name, table } = props
  const text = useText()
  const { t } = text
  const history = useTableHistory(name)
  const [compared, setCompared] = useState<readonly number[]>([])
  const [reverting, setReverting] = useState<HistoryEntry>()
  const reason = useMayNot('tables.edit')
  const toggle = (id: number): void =>
    setCompared(
      compared.includes(id)
        ? compared.filter((other) => other !== id)
        : [...compared, id].slice(-2),
    )
  return (
    <Card
      title={t('table.history')}
      aside={history.data !== undefined && t('history.kept', { count: history.data.kept })}
    >
      <Loaded query={history}>
        {({ entries }) =>
          entries.length === 0 ? (
            <Empty icon="history" title={t('history.none')}>
              {t('history.noneWords')}
            </Empty>
          ) : (
            <>
              <Compared entries={entries.filter(({ id }) => compared.includes(id))} />
              <ol className={styles.timeline}>
                {entries.map((entry, index) => (
                  <li key={entry.id}>
                    <div className={styles.entry}>
                      <label className={styles.pick}>
                        <input
                          type="checkbox"
                          checked={compared.includes(entry.id)}
                          onChange={() => toggle(entry.id)}
                        />
                        <span className="only-heard">{t('history.compare')}</span>
                      </label>
                      <span className={styles.grow}>
                        <strong>{actionWord(text, entry.action)}</strong> · {entry.actor}{' '}
                        {entry.source === 'external' && (
                          <Status tone="warn">{t('history.external')}</Status>
                        )}
                        {entry.approvedBy !== undefined && (
                          <span className={styles.muted}>
                            {t('audit.approvedBy', { name: entry.approvedBy })}
                          </span>
                        )}
                        {entry.versions !== undefined && (
                          <span className={styles.muted}>
                            {' '}
                            · {t('history.versions', { count: entry.versions })}
                          </span>
                        )}
                        {entry.reason !== undefined && (
                          <span className={styles.muted}> · {entry.reason}</span>
                        )}
                      </span>
                      <span className={styles.muted}>
                        <Ago at={entry.at} />
                      </span>
                      {entry.after !== null && (index > 0 || table === undefined) && (
                        <Button icon="undo" reason={reason} onClick={() => setReverting(entry)}>
                          {t('history.revert')}
                        </Button>
                      )}
                    </div>
                    <details>
                      <summary>{t('history.difference')}</summary>
                      <Diff before={entry.before ?? ''} after={entry.after ?? ''} />
                    </details>
                  </li>
                ))}
              </ol>
            </>
          )
        }
      </Loaded>
      {reverting !== undefined && (
        <RevertDialog
          name={name}
          table={table}
          entry={reverting}
          onClose={() => setReverting(undefined)}
        />
      )}
    </Card>
  )
}

function Compared({ entries }: { readonly entries: readonly HistoryEntry[] }) {
  const { t } = useText()
  const [newer, older] = entries
  if (newer === undefined) return null
  if (older === undefined) return <p className={styles.muted}>{t('history.chooseSecond')}</p>
  return (
    <section aria-label={t('history.compared')} className={styles.compared}>
      <h3>
        <Ago at={older.at} /> → <Ago at={newer.at} />
      </h3>
      <Diff before={older.after ?? ''} after={newer.after ?? ''} />
    </section>
  )
}

/** A revert is an edit like any other: checked first, shown, then saved with the version seen. */
function RevertDialog(props: {
  readonly name: string
  readonly table: Table | undefined
  readonly entry: HistoryEntry
  readonly onClose: () => void
}) {
  const { name, table, entry, onClose } = props
  const { t } = useText()
  const { info } = useSession()
  const queries = useQueryClient()
  const toast = useToast()
  const [reason, setReason] = useState('')
  const post = <T,>(options: CallOptions) =>
    call<T>(`${tablePath(name)}:revert`, {
      method: 'POST',
      body: { to: entry.id },
      ...(table === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: table.etag }),
      ...options,
    })
  const check = useMutation({
    mutationFn: async () =>
      (await post<ChangePreview>({ query: { dry_run: true }, reason: 'preview' })).data,
  })
  const revert = useMutation({
    mutationFn: () => post<Table>({ reason }),
    onSuccess: () => {
      for (const word of ['tables', 'table', 'history', 'overview', 'audit'])
        void queries.invalidateQueries({ queryKey: [word] })
      toast({ tone: 'ok', text: t('history.reverted', { name }) })
      onClose()
    },
  })
  const { mutate, isIdle } = check
  if (isIdle) mutate()
  const needsReason = info.reasonRequired && reason.trim() === ''
  return (
    <Dialog
      open
      wide
      title={t('history.revertTitle', { name })}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button
            look="primary"
            icon="undo"
            busy={revert.isPending || check.isPending}
            reason={
              check.data?.checks.some(({ level }) => level === 'error') === true
                ? t('edit.blocked')
                : needsReason
                  ? t('edit.reasonNeeded')
                  : undefined
            }
            onClick={() => revert.mutate()}
          >
            {t('history.revertButton')}
          </Button>
        </>
      }
    >
      {(revert.error ?? check.error) !== null && <Failure error={revert.error ?? check.error} />}
      {check.data !== undefined && <ChangeReview preview={check.data} />}
      <ReasonField value={reason} onChange={setReason} />
    </Dialog>
  )
}
