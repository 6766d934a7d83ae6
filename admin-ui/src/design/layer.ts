/**
 * Opens menus and tooltips inside the landmark of the screen that is there at that moment. Over a
 * dialog they stand beside it: what is in the landmark is then not told to screen readers, and what
 * goes away inside of the dialog takes the focus with it.
 */
import { useState } from 'react'

export function useLayer() {
  const [open, setOpen] = useState(false)
  const [container, setContainer] = useState<HTMLElement | null>(null)
  const onOpenChange = (next: boolean): void => {
    if (next) {
      const isOverDialog = document.querySelector('[role="dialog"]') !== null
      setContainer(isOverDialog ? null : document.querySelector('main'))
    }
    setOpen(next)
  }
  return { root: { open, onOpenChange }, container }
}
