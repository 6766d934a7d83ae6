/** What is known of one thing, as names and values; and lines of marks about several things. */
import type { ReactNode } from 'react'
import styles from './facts.module.css'

export function Facts({ children }: { readonly children: ReactNode }) {
  return <dl className={styles.facts}>{children}</dl>
}

export function Fact(props: {
  readonly label: string
  /** More words about the label, on hover. */
  readonly hint?: string
  readonly children: ReactNode
}) {
  return (
    <>
      <dt title={props.hint}>{props.label}</dt>
      <dd>{props.children}</dd>
    </>
  )
}

export function Lines(props: { readonly label?: string; readonly children: ReactNode }) {
  return (
    <ul className={styles.lines} aria-label={props.label}>
      {props.children}
    </ul>
  )
}

/** What it is about at the left, its marks at the right. */
export function Line(props: { readonly name: ReactNode; readonly children?: ReactNode }) {
  return (
    <li className={styles.line}>
      <span className={styles.name}>{props.name}</span>
      {props.children}
    </li>
  )
}

/** More words about a line, below it. */
export function LineDetail({ children }: { readonly children: ReactNode }) {
  return <span className={styles.detail}>{children}</span>
}

/** Cards beside each other where there is room. */
export function Columns({ children }: { readonly children: ReactNode }) {
  return <div className={styles.columns}>{children}</div>
}

/** Cards below each other, as one of several columns. */
export function Stack({ children }: { readonly children: ReactNode }) {
  return <div className={styles.stack}>{children}</div>
}

export function Muted({ children }: { readonly children: ReactNode }) {
  return <p className={styles.muted}>{children}</p>
}
