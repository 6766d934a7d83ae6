/** A few words beside something, on hover and on focus; never the only place that says it. */
import * as Radix from '@radix-ui/react-tooltip'
import type { ReactElement, ReactNode } from 'react'
import { useLayer } from './layer.ts'
import styles from './tooltip.module.css'

export function TooltipProvider({ children }: { readonly children: ReactNode }) {
  return <Radix.Provider delayDuration={350}>{children}</Radix.Provider>
}

export function Tooltip(props: { readonly text: ReactNode; readonly children: ReactElement }) {
  const { root, container } = useLayer()
  return (
    <Radix.Root {...root}>
      <Radix.Trigger asChild>{props.children}</Radix.Trigger>
      <Radix.Portal container={container}>
        <Radix.Content className={styles.tooltip} sideOffset={6} collisionPadding={8}>
          {props.text}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}
