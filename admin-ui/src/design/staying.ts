/**
 * What was entered and not saved is not lost unasked: neither by the browser's Back, nor by closing its
 * tab. Of several dialogs the one that came last is asked.
 */
import { useEffect, useRef } from 'react'

interface Unsaved {
  readonly href: string
  readonly ask: () => void
}

const unsaved: Unsaved[] = []

/**
 * Called once, before anything is drawn: a window tells its listeners in the order in which they came,
 * and the router may not hear of a Back that is taken back.
 */
export function watchLeaving(): void {
  addEventListener('popstate', (event) => {
    const last = unsaved.at(-1)
    if (last === undefined) return
    event.stopImmediatePropagation()
    history.pushState(null, '', last.href)
    last.ask()
  })
  addEventListener('beforeunload', (event) => {
    if (unsaved.length > 0) event.preventDefault()
  })
}

/** While `isOn`, whoever would leave the page is kept, and `ask` is called. */
export function useStaying(isOn: boolean, ask: () => void): void {
  const asked = useRef(ask)
  asked.current = ask
  useEffect(() => {
    if (!isOn) return
    const one: Unsaved = { href: location.href, ask: () => asked.current() }
    unsaved.push(one)
    return () => {
      unsaved.splice(unsaved.indexOf(one), 1)
    }
  }, [isOn])
}
