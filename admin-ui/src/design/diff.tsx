/** Old and new of a text, with what differs marked; old lines with −, new ones with +. */
import { useMemo } from 'react'
import { useText } from '../text/text.tsx'
import { diffLines } from './diff-words.ts'
import styles from './diff.module.css'

const marks = { same: ' ', old: '−', new: '+' } as const

export function Diff({ before, after }: { readonly before: string; readonly after: string }) {
  const { t } = useText()
  const lines = useMemo(() => diffLines(before, after), [before, after])
  const isSame = lines.every(({ kind }) => kind === 'same')
  if (isSame && before !== '') return <p className={styles.note}>{t('diff.same')}</p>
  return (
    <pre className={styles.diff} aria-label={t('diff.label')} tabIndex={0}>
      {lines.map(({ kind, pieces }, index) => (
        <span key={index} className={`${styles.line} ${styles[kind]}`}>
          <span className={styles.mark}>{marks[kind]}</span>
          <span>
            {pieces.map(({ text, changed }, piece) =>
              changed && kind !== 'same' && pieces.length > 1 ? (
                <mark key={piece}>{text}</mark>
              ) : (
                text
              ),
            )}
          </span>
        </span>
      ))}
    </pre>
  )
}
