/** A few views of the same thing, of which one is shown: a row of buttons. */
import type { ReactNode } from 'react'
import styles from './choices.module.css'

export interface Choice<Value extends string> {
  readonly value: Value
  readonly label: string
  /** Right of the label: a number. */
  readonly mark?: ReactNode
}

export function Choices<Value extends string>(props: {
  readonly label: string
  readonly value: Value
  readonly choices: readonly Choice<Value>[]
  readonly onChange: (value: Value) => void
}) {
  return (
    <div className={styles.choices} role="group" aria-label={props.label}>
      {props.choices.map(({ value, label, mark }) => (
        <button
          key={value}
          type="button"
          className={styles.choice}
          aria-pressed={value === props.value}
          onClick={() => props.onChange(value)}
        >
          {label}
          {mark}
        </button>
      ))}
    </div>
  )
}
