/**
 * What gateways said when they were asked: when that was, who did not answer, and asking again. An
 * answer is of a moment, so it is never without its age.
 */
import type { UseQueryResult } from '@tanstack/react-query'
import { Ago } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'
import styles from './gateways.module.css'

export interface Answers {
  readonly askedAt: string
  readonly silent: readonly { readonly id: string; readonly reason: string }[]
}

export function Asked({ query }: { readonly query: UseQueryResult<Answers> }) {
  const { t } = useText()
  const { data, isFetching } = query
  return (
    <span className={styles.asked}>
      {data !== undefined && (
        <span className={styles.age}>
          {t('asked.at')} <Ago at={data.askedAt} />
        </span>
      )}
      <Button icon="refresh" busy={isFetching} onClick={() => void query.refetch()}>
        {t(data === undefined ? 'asked.ask' : 'asked.again')}
      </Button>
    </span>
  )
}

/** Those that did not answer, each with the reason; nothing when all did. */
export function Silent({ silent }: { readonly silent: Answers['silent'] }) {
  const { t } = useText()
  if (silent.length === 0) return null
  return (
    <ul className={styles.silent} aria-label={t('asked.silent')}>
      {silent.map(({ id, reason }) => (
        <li key={id}>
          <Status tone="warn" icon="clock">
            {t('asked.noAnswer', { id })}
          </Status>{' '}
          {reason}
        </li>
      ))}
    </ul>
  )
}
