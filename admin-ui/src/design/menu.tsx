/** A menu behind a button. */
import * as Radix from '@radix-ui/react-dropdown-menu'
import type { ReactElement, ReactNode } from 'react'
import { Icon, type IconName } from './icon.tsx'
import { useLayer } from './layer.ts'
import styles from './menu.module.css'

export function Menu(props: { readonly trigger: ReactElement; readonly children: ReactNode }) {
  const { root, container } = useLayer()
  return (
    <Radix.Root modal={false} {...root}>
      <Radix.Trigger asChild>{props.trigger}</Radix.Trigger>
      <Radix.Portal container={container}>
        <Radix.Content className={styles.menu} align="end" sideOffset={4} collisionPadding={8}>
          {props.children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}

export function MenuItem(props: {
  readonly icon?: IconName
  readonly danger?: boolean
  readonly checked?: boolean
  /** Why it may not be chosen. */
  readonly reason?: string | undefined
  readonly onSelect: () => void
  readonly children: ReactNode
}) {
  const { icon, danger = false, checked, reason, onSelect, children } = props
  const inside = (
    <>
      <span className={styles.icon}>
        {checked === true ? <Icon name="check" /> : icon !== undefined && <Icon name={icon} />}
      </span>
      <span>
        {children}
        {reason !== undefined && <span className={styles.reason}>{reason}</span>}
      </span>
    </>
  )
  const common = {
    className: `${styles.item} ${danger ? styles.danger : ''}`,
    disabled: reason !== undefined,
  }
  if (checked === undefined)
    return (
      <Radix.Item {...common} onSelect={onSelect}>
        {inside}
      </Radix.Item>
    )
  return (
    <Radix.CheckboxItem {...common} checked={checked} onCheckedChange={onSelect}>
      {inside}
    </Radix.CheckboxItem>
  )
}

export function MenuHeading({ children }: { readonly children: ReactNode }) {
  return <Radix.Label className={styles.heading}>{children}</Radix.Label>
}

export function MenuLine() {
  return <Radix.Separator className={styles.line} />
}
