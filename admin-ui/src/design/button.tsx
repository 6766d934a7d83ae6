/**
 * Buttons. One that may not be used stays visible and focusable, and says why (`reason`) in a
 * tooltip and to screen readers, instead of being hidden or silently dead.
 */
import { type ButtonHTMLAttributes, forwardRef, type ReactNode } from 'react'
import { Icon, type IconName } from './icon.tsx'
import { Tooltip } from './tooltip.tsx'
import styles from './button.module.css'

export interface ButtonProps extends Omit<
  ButtonHTMLAttributes<HTMLButtonElement>,
  'disabled' | 'children'
> {
  readonly look?: 'primary' | 'secondary' | 'plain' | 'danger'
  readonly icon?: IconName
  readonly children?: ReactNode
  /** Why it may not be used; undefined when it may. */
  readonly reason?: string | undefined
  /** Something it started is going on; further clicks do nothing. */
  readonly busy?: boolean
}

/** With a ref, by which menus and tooltips find their place. */
export const Button = forwardRef<HTMLButtonElement, ButtonProps>(function Button(props, ref) {
  const { look = 'secondary', icon, children, reason, busy = false, onClick, ...rest } = props
  const isOff = reason !== undefined || busy
  const button = (
    <button
      ref={ref}
      type="button"
      {...rest}
      className={[styles.button, styles[look], children === undefined ? styles.icon : '']
        .filter(Boolean)
        .join(' ')}
      aria-disabled={isOff}
      aria-busy={busy}
      onClick={(event) => {
        if (isOff) event.preventDefault()
        else onClick?.(event)
      }}
    >
      {busy ? <span className={styles.spinner} /> : icon && <Icon name={icon} />}
      {children}
    </button>
  )
  return reason === undefined ? button : <Tooltip text={reason}>{button}</Tooltip>
})

interface IconButtonProps extends Omit<ButtonProps, 'children' | 'icon'> {
  readonly icon: IconName
  readonly label: string
}

/** A button that is only an icon; its name is told to screen readers and in a tooltip. */
export const IconButton = forwardRef<HTMLButtonElement, IconButtonProps>(
  function IconButton(props, ref) {
    const { label, look = 'plain', reason, ...rest } = props
    const button = <Button {...rest} ref={ref} look={look} aria-label={label} reason={reason} />
    return reason === undefined ? <Tooltip text={label}>{button}</Tooltip> : button
  },
)
