/**
 * What stands where content is missing (admin-ui.md 4): still loading, nothing there and why, or
 * failed and what to do. A view uses `Loaded` and never shows a blank page.
 */
import type { UseQueryResult } from '@tanstack/react-query'
import { type ReactNode, useEffect, useState } from 'react'
import { ApiProblem } from '../api/http.ts'
import { useText } from '../text/text.tsx'
import { Button } from './button.tsx'
import { Icon, type IconName } from './icon.tsx'
import styles from './state.module.css'

const SKELETON_AFTER_MS = 150

/** Grey bars in the place of `lines` lines, shown only when loading takes long enough to notice. */
export function Skeleton({ lines = 3 }: { readonly lines?: number }) {
  const { t } = useText()
  const [isLate, setLate] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), SKELETON_AFTER_MS)
    return () => clearTimeout(timer)
  }, [])
  return (
    <div className={styles.skeleton} role="status" data-late={isLate}>
      <span className="only-heard">{t('state.loading')}</span>
      {Array.from({ length: lines }, (_, line) => (
        <span key={line} className={styles.bar} aria-hidden="true" />
      ))}
    </div>
  )
}

export function Empty(props: {
  readonly icon?: IconName
  readonly title: string
  readonly children?: ReactNode
  /** The next step. */
  readonly action?: ReactNode
}) {
  return (
    <div className={styles.empty}>
      <span className={styles.mark}>
        <Icon name={props.icon ?? 'info'} size={20} />
      </span>
      <p className={styles.title}>{props.title}</p>
      {props.children !== undefined && <div className={styles.words}>{props.children}</div>}
      {props.action}
    </div>
  )
}

/** A failed read or change: what failed, the code and the request's id to quote, and a way on. */
export function Failure(props: {
  readonly error: unknown
  readonly title?: string
  readonly onRetry?: () => void
}) {
  const { error, onRetry } = props
  const { t } = useText()
  const problem = error instanceof ApiProblem ? error.problem : undefined
  const detail = problem?.detail ?? (error instanceof Error ? error.message : String(error))
  return (
    <div className={styles.failure} role="alert">
      <Icon name="error" />
      <div className={styles.failureText}>
        <p className={styles.title}>{props.title ?? problem?.title ?? t('state.failed')}</p>
        <p>{problem?.status === 0 ? t('state.noAnswer') : detail}</p>
        {problem?.missing !== undefined && (
          <p>{t('state.missingRight', { right: problem.missing.right })}</p>
        )}
        {problem !== undefined && problem.requestId !== '' && (
          <p className={styles.code}>
            {problem.code} · {problem.requestId}
          </p>
        )}
      </div>
      {onRetry !== undefined && (
        <Button icon="refresh" onClick={onRetry}>
          {t('action.retry')}
        </Button>
      )}
    </div>
  )
}

/** The data of a query, or why it is not there; old data stays while it is read again. */
export function Loaded<T>(props: {
  readonly query: UseQueryResult<T>
  readonly lines?: number
  readonly children: (data: T) => ReactNode
}) {
  const { query, lines = 4, children } = props
  if (query.data !== undefined)
    return (
      <>
        {query.isError && <Failure error={query.error} onRetry={() => void query.refetch()} />}
        {children(query.data)}
      </>
    )
  if (query.isError) return <Failure error={query.error} onRetry={() => void query.refetch()} />
  return <Skeleton lines={lines} />
}
