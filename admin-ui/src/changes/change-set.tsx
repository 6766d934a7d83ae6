/**
 * Many changes before they are made (admin-ui.md 3.4, 3.5): a preview by kind, each item with its
 * difference, a box to leave it out; then the apply with its progress, and what became of each item.
 * The same view serves bulk edits, imports, replaced metas and adopted tables.
 */
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useCallback, useMemo, useRef, useState } from 'react'
import {
  type ApplyResult,
  type ChangeItem,
  type ChangeKind,
  type ChangeSet,
} from '../../../gateway/admin/api/changes.ts'
import type { ServerEvent } from '../../../gateway/admin/api/events.ts'
import { useEvents } from '../api/events.ts'
import { call } from '../api/http.ts'
import { useSession } from '../api/session.tsx'
import { Button } from '../design/button.tsx'
import { Diff } from '../design/diff.tsx'
import { control, Field } from '../design/field.tsx'
import { Empty, Failure } from '../design/state.tsx'
import { Status, type Tone } from '../design/status.tsx'
import { type TextKey, useText } from '../text/text.tsx'
import { ApplyReport } from './apply-report.tsx'
import styles from './change-set.module.css'
import { ReasonField } from './entry-dialog.tsx'

const ROW_PX = 44

const kinds: Readonly<Record<ChangeKind, { readonly tone: Tone; readonly text: TextKey }>> = {
  create: { tone: 'ok', text: 'changes.create' },
  change: { tone: 'info', text: 'changes.change' },
  delete: { tone: 'bad', text: 'changes.delete' },
  same: { tone: 'neutral', text: 'changes.same' },
  invalid: { tone: 'warn', text: 'changes.invalid' },
}

const kindNames = Object.keys(kinds) as ChangeKind[]

const mayBeApplied = ({ kind }: ChangeItem): boolean => kind !== 'same' && kind !== 'invalid'

/** Of an apply that runs, by its events. */
function useProgress(token: string) {
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
  readonly onClose: () => void
}) {
  const { changes, also, onBack, onClose } = props
  const { t, number } = useText()
  const { info } = useSession()
  const queries = useQueryClient()
  const first = kindNames.find((kind) => changes.counts[kind] > 0) ?? 'change'
  const [kind, setKind] = useState<ChangeKind>(first)
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set())
  const [reason, setReason] = useState('')
  const [typed, setTyped] = useState('')
  const key = useRef(crypto.randomUUID())
  const progress = useProgress(changes.token)
  const included = useMemo(
    () => changes.items.filter((item) => mayBeApplied(item) && !left.has(item.name)),
    [changes, left],
  )
  const deletions = included.filter((item) => item.kind === 'delete').length
  const apply = useMutation({
    mutationFn: async () =>
      (
        await call<ApplyResult>('/tables:apply', {
          method: 'POST',
          body: { token: changes.token, include: included.map(({ name }) => name) },
          reason,
          idempotencyKey: key.current,
        })
      ).data,
    onSuccess: () => void queries.invalidateQueries(),
  })
  if (apply.data !== undefined) return <ApplyReport result={apply.data} onClose={onClose} />
  const total = progress?.total ?? included.length
  const done = progress === undefined ? 0 : progress.done + progress.failed + progress.skipped
  return (
    <div className={styles.review}>
      <div className={styles.kinds} role="tablist" aria-label={t('changes.kinds')}>
        {kindNames.map((one) => (
          <button
            key={one}
            type="button"
            role="tab"
            aria-selected={one === kind}
            className={styles.kind}
            onClick={() => setKind(one)}
          >
            {t(kinds[one].text)}
            <Status tone={changes.counts[one] > 0 ? kinds[one].tone : 'neutral'}>
              {number(changes.counts[one])}
            </Status>
          </button>
        ))}
      </div>
      <Items
        items={changes.items.filter((item) => item.kind === kind)}
        left={left}
        onToggle={(name) => {
          const next = new Set(left)
          if (!next.delete(name)) next.add(name)
          setLeft(next)
        }}
      />
      {also !== undefined && <p className={styles.hint}>{also}</p>}
      {apply.isError && <Failure error={apply.error} />}
      {apply.isPending ? (
        <div className={styles.progress} aria-live="polite">
          <progress max={total} value={done} aria-label={t('changes.progress')} />
          {t('changes.progressOf', { done, total })}
        </div>
      ) : (
        <div className={styles.confirm}>
          <ReasonField value={reason} onChange={setReason} />
          {deletions > 0 && (
            <Field
              label={t('changes.typeDeletions', { count: deletions })}
              hint={t('changes.typeHint', { number: String(deletions) })}
            >
              {(ids) => (
                <input
                  {...ids}
                  className={control}
                  inputMode="numeric"
                  autoComplete="off"
                  value={typed}
                  onChange={({ target }) => setTyped(target.value)}
                />
              )}
            </Field>
          )}
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
          {t('changes.apply', { count: included.length })}
        </Button>
      </div>
    </div>
  )
}

function Items(props: {
  readonly items: readonly ChangeItem[]
  readonly left: ReadonlySet<string>
  readonly onToggle: (name: string) => void
}) {
  const { items, left, onToggle } = props
  const { t } = useText()
  const scroller = useRef<HTMLDivElement>(null)
  const [filter, setFilter] = useState('')
  const [open, setOpen] = useState<string>()
  const shown = items.filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase()))
  const rows = useVirtualizer({
    count: shown.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: 8,
  })
  if (items.length === 0) return <Empty title={t('changes.none')} />
  const opened = shown.find((item) => keyOf(item) === open) ?? shown[0]
  return (
    <div className={styles.items}>
      <input
        className={control}
        type="search"
        aria-label={t('changes.filter')}
        placeholder={t('changes.filter')}
        value={filter}
        onChange={({ target }) => setFilter(target.value)}
      />
      <div className={styles.split}>
        <div
          ref={scroller}
          className={styles.list}
          tabIndex={0}
          role="group"
          aria-label={t('changes.items')}
        >
          <div style={{ height: rows.getTotalSize() }} className={styles.space}>
            {rows.getVirtualItems().map(({ index, start }) => {
              const item = shown[index]
              if (item === undefined) return null
              return (
                <div
                  key={`${keyOf(item)} ${index}`}
                  className={styles.item}
                  data-open={item === opened}
                  style={{ transform: `translateY(${start}px)` }}
                >
                  {mayBeApplied(item) && (
                    <input
                      type="checkbox"
                      aria-label={t('changes.include', { name: item.name })}
                      checked={!left.has(item.name)}
                      onChange={() => onToggle(item.name)}
                    />
                  )}
                  <button
                    type="button"
                    className={styles.name}
                    aria-expanded={item === opened}
                    onClick={() => setOpen(keyOf(item))}
                  >
                    {item.line !== undefined && (
                      <span className={styles.line}>{t('changes.line', { line: item.line })}</span>
                    )}
                    {item.name === '' ? t('changes.noName') : item.name}
                    {item.errors?.[0] !== undefined && (
                      <span className={styles.error}>
                        {item.errors[0].field === '' ? '' : `${item.errors[0].field}: `}
                        {item.errors[0].message}
                      </span>
                    )}
                  </button>
                </div>
              )
            })}
          </div>
        </div>
        <div className={styles.detail}>
          {opened === undefined ? (
            <p className={styles.hint}>{t('changes.choose')}</p>
          ) : (
            <>
              <h3>{opened.name}</h3>
              {opened.errors?.map(({ field, message }) => (
                <p key={`${field} ${message}`} className={styles.error}>
                  {field === '' ? '' : `${field}: `}
                  {message}
                </p>
              ))}
              {(opened.before ?? opened.after) !== undefined && (
                <Diff before={opened.before ?? ''} after={opened.after ?? ''} />
              )}
            </>
          )}
        </div>
      </div>
    </div>
  )
}

function keyOf({ name, line }: ChangeItem): string {
  return `${line ?? ''} ${name}`
}
