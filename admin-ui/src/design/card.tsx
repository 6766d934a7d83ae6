/** A surface with a heading: what stands together on a page. */
import { type ReactNode, useId } from 'react'
import styles from './card.module.css'

export function Card(props: {
  readonly title?: ReactNode
  /** Right of the heading: buttons, an age. */
  readonly aside?: ReactNode
  readonly children: ReactNode
  /** Without inner space: for tables that reach the edge. */
  readonly flush?: boolean
}) {
  const { title, aside, children, flush = false } = props
  const id = useId()
  return (
    <section className={styles.card} aria-labelledby={title === undefined ? undefined : id}>
      {(title !== undefined || aside !== undefined) && (
        <header className={styles.header}>
          <h2 id={id} className={styles.title}>
            {title}
          </h2>
          <div className={styles.aside}>{aside}</div>
        </header>
      )}
      <div className={flush ? undefined : styles.body}>{children}</div>
    </section>
  )
}
