/** Somebody else saved first: what it was, what they made of it, what is being saved, side by side. */
import type { Table } from '../../../gateway/admin/api/tables.ts'
import { Button } from '../design/button.tsx'
import { Diff } from '../design/diff.tsx'
import { useText } from '../text/text.tsx'
import styles from './conflict.module.css'
import { draftOf, formatRaw, type TableDraft } from './table-draft.ts'

export function Conflict(props: {
  readonly base: Table | undefined
  readonly theirs: Table
  readonly by: string
  readonly mine: TableDraft
  readonly onTakeTheirs: () => void
  /** Goes on editing, on top of their version. */
  readonly onKeepMine: () => void
}) {
  const { base, theirs, by, mine } = props
  const { t } = useText()
  const before = base === undefined ? '' : formatRaw(draftOf(base))
  return (
    <div className={styles.conflict}>
      <p role="alert" className={styles.words}>
        {t('conflict.words', { by, name: theirs.name })}
      </p>
      <div className={styles.sides}>
        <section aria-label={t('conflict.theirs', { by })}>
          <h3>{t('conflict.theirs', { by })}</h3>
          <Diff before={before} after={formatRaw(draftOf(theirs))} />
        </section>
        <section aria-label={t('conflict.mine')}>
          <h3>{t('conflict.mine')}</h3>
          <Diff before={before} after={formatRaw(mine)} />
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
