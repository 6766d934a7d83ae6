/**
 * A labelled input with its hint and its error at the field, tied together for screen readers. The
 * control is given by the caller as a function of the ids, so that any control can stand here.
 */
import { type ReactNode, useId } from 'react'
import { Icon } from './icon.tsx'
import styles from './field.module.css'

export interface ControlIds {
  readonly id: string
  readonly 'aria-describedby': string | undefined
  readonly 'aria-invalid': boolean
}

export function Field(props: {
  readonly label: string
  readonly hint?: ReactNode
  readonly error?: string | undefined
  readonly children: (ids: ControlIds) => ReactNode
}) {
  const { label, hint, error, children } = props
  const id = useId()
  const described = [
    hint === undefined ? '' : `${id}-hint`,
    error === undefined ? '' : `${id}-error`,
  ].filter(Boolean)
  return (
    <div className={styles.field}>
      <label className={styles.label} htmlFor={id}>
        {label}
      </label>
      {children({
        id,
        'aria-describedby': described.length === 0 ? undefined : described.join(' '),
        'aria-invalid': error !== undefined,
      })}
      {hint !== undefined && (
        <p id={`${id}-hint`} className={styles.hint}>
          {hint}
        </p>
      )}
      {error !== undefined && (
        <p id={`${id}-error`} className={styles.error} role="alert">
          <Icon name="error" size={12} />
          {error}
        </p>
      )}
    </div>
  )
}

/** The look of inputs, selects and text areas. */
export const control = styles.control ?? ''

/** Fields below each other. */
export function Form({ children }: { readonly children: ReactNode }) {
  return <div className={styles.form}>{children}</div>
}
