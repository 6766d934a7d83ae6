/** Somebody else saved first: what they made of it and what is being saved, side by side. */
import { Button } from '../design/button.tsx'
import { Diff } from '../design/diff.tsx'
import { useText } from '../text/text.tsx'
import styles from './conflict.module.css'

/** The three versions as JSON; `base` is '' when there was none. */
export function Conflict(props: {
  readonly name: string
  readonly by: string
  readonly base: string
  readonly theirs: string
  readonly mine: string
  readonly onTakeTheirs: () => void
  /** Goes on editing, on top of their version. */
  readonly onKeepMine: () => void
}) {
  const { name, by, base, theirs, mine } = props
  const { t } = useText()
  return (
    <div className={styles.conflict}>
      <p role="alert" className={styles.words}>
        {t('conflict.words', { by, name })}
      </p>
      <div className={styles.sides}>
        <section aria-label={t('conflict.theirs', { by })}>
          <h3>{t('conflict.theirs', { by })}</h3>
          <Diff before={base} after={theirs} />
        </section>
        <section aria-label={t('conflict.mine')}>
          <h3>{t('conflict.mine')}</h3>
          <Diff before={base} after={mine} />
        </section>
      </div>
      <div className={styles.actions}>
        <Button onClick={props.onTakeTheirs}>{t('conflict.takeTheirs')}</Button>
        <Button look="primary" onClick={props.onKeepMine}>
          {t('conflict.keepMine')}
        </Button>
      </div>
    </div>
  )
}
