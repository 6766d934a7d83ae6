/** A state as a small mark: colour, icon and word together, never colour alone. */
import type { ReactNode } from 'react'
import { Icon, type IconName } from './icon.tsx'
import styles from './status.module.css'

export type Tone = 'ok' | 'warn' | 'bad' | 'info' | 'neutral'

const icons: Readonly<Record<Tone, IconName>> = {
  ok: 'check',
  warn: 'warning',
  bad: 'error',
  info: 'info',
  neutral: 'info',
}

export function Status(props: {
  readonly tone: Tone
  readonly children: ReactNode
  readonly icon?: IconName
  /** A sentence, which takes the lines that it needs. */
  readonly wraps?: boolean
}) {
  const { tone, children, icon = icons[tone], wraps = false } = props
  return (
    <span className={`${styles.status} ${styles[tone]} ${wraps ? styles.wraps : ''}`}>
      <Icon name={icon} size={12} />
      {children}
    </span>
  )
}
