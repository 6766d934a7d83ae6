/** What a change would do, before it is done: the difference, what was checked, who would notice. */
import type { ChangePreview } from '../../../gateway/admin/api/tables.ts'
import { Diff } from '../design/diff.tsx'
import { Icon } from '../design/icon.tsx'
import { useText } from '../text/text.tsx'
import styles from './change-review.module.css'

const icons = { ok: 'check', warning: 'warning', error: 'error' } as const

export function ChangeReview({ preview }: { readonly preview: ChangePreview }) {
  const { t } = useText()
  const { before, after, checks, gateways, clients } = preview
  const movesCluster = clusterIn(before) !== undefined && clusterIn(before) !== clusterIn(after)
  return (
    <div className={styles.review}>
      <Diff before={before ?? ''} after={after ?? ''} />
      {checks.length > 0 && (
        <section aria-label={t('review.checks')}>
          <h3>{t('review.checks')}</h3>
          <ul className={styles.checks}>
            {checks.map(({ id, level, message }) => (
              <li key={`${id} ${message}`} className={styles[level]}>
                <Icon name={icons[level]} />
                <span>{message}</span>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section aria-label={t('review.consequences')}>
        <h3>{t('review.consequences')}</h3>
        <ul className={styles.consequences}>
          <li>{t('review.gateways', { count: gateways })}</li>
          {clients !== undefined && <li>{t('review.clients', { count: clients })}</li>}
          {movesCluster && <li>{t('review.moves')}</li>}
        </ul>
      </section>
    </div>
  )
}

/** The cluster that a node's text names, in either form. */
function clusterIn(text: string | null): string | undefined {
  try {
    const value = JSON.parse(text ?? '') as { cluster?: string; cluster_name?: string } | null
    return value?.cluster ?? value?.cluster_name
  } catch {
    return undefined
  }
}
