/** Tabs whose choice is part of the address: each one is a link that can be shared. */
import { useEffect, useRef } from 'react'
import { Link } from 'wouter'
import styles from './tabs.module.css'

export interface TabLink {
  readonly href: string
  readonly label: string
  readonly count?: number
}

export function Tabs(props: {
  readonly label: string
  readonly tabs: readonly TabLink[]
  /** The `href` of the tab that is shown. */
  readonly current: string
}) {
  const nav = useRef<HTMLElement>(null)
  // On narrow screens the row of tabs scrolls.
  useEffect(() => {
    nav.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' })
  }, [props.current])
  return (
    <nav ref={nav} aria-label={props.label} className={styles.tabs}>
      {props.tabs.map(({ href, label, count }) => (
        <Link
          key={href}
          href={href}
          className={styles.tab ?? ''}
          aria-current={href === props.current ? 'page' : undefined}
        >
          {label}
          {count !== undefined && <span className={styles.count}>{count}</span>}
        </Link>
      ))}
    </nav>
  )
}
