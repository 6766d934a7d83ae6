/** The frame of every screen: its heading, what it acts on, and its content in one column. */
import { type ReactNode, useEffect } from 'react'
import { Link } from 'wouter'
import styles from './page.module.css'

export function Page(props: {
  readonly title: string
  /** The list that it stands in. */
  readonly parent?: { readonly href: string; readonly label: string }
  /** Beside the heading: state, age. */
  readonly facts?: ReactNode
  readonly actions?: ReactNode
  readonly children: ReactNode
}) {
  const { title, parent, facts, actions, children } = props
  useEffect(() => {
    document.title = `${title} · MetaProxy`
  }, [title])
  return (
    <main id="content" className={styles.page} tabIndex={-1}>
      <header className={styles.header}>
        <div className={styles.heading}>
          {parent !== undefined && (
            <span className={styles.parent}>
              <Link href={parent.href}>{parent.label}</Link>
              <span aria-hidden="true">/</span>
            </span>
          )}
          <h1>{title}</h1>
          {facts}
        </div>
        <div className={styles.actions}>{actions}</div>
      </header>
      {children}
    </main>
  )
}
