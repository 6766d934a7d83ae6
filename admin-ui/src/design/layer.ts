/** Opens menus and tooltips inside the landmark of the screen that is there at that moment. */
import { useState } from 'react'

export function useLayer() {
  const [open, setOpen] = useState(false)
  const [container, setContainer] = useState<HTMLElement | null>(null)
  const onOpenChange = (next: boolean): void => {
    if (next) setContainer(document.querySelector('main'))
    setOpen(next)
  }
  return { root: { open, onOpenChange }, container }
}
