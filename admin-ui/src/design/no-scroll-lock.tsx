/**
 * Stands in for `react-remove-scroll`, which Radix' dialogs would load: it writes a style element into
 * the page, and the content policy forbids those. A dialog's overlay holds the wheel by `base.css`
 * (`body:has([role='dialog'])`), so what is left is to show the children.
 */
import type { ElementType, ReactNode } from 'react'

export function RemoveScroll(props: {
  readonly as?: ElementType
  readonly children?: ReactNode
  /** Of the original, without meaning here. */
  readonly allowPinchZoom?: boolean
  readonly shards?: readonly unknown[]
}) {
  const { as: Frame, children } = props
  return Frame === undefined ? <>{children}</> : <Frame>{children}</Frame>
}
