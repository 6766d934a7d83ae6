/**
 * Keys that work on every screen: `/` searches, `?` helps, `g` and a letter goes to a screen. Not while
 * somebody types or a dialog is open, and none of them changes anything.
 */
import { useEffect, useRef } from 'react'
import { useLocation } from 'wouter'

const places: Readonly<Record<string, string>> = {
  o: '/',
  t: '/tables',
  c: '/clusters',
  r: '/groups',
  g: '/gateways',
  a: '/audit',
  s: '/settings',
}

const SECOND_KEY_MS = 1500

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))
  )
}

export function useShortcuts(keys: {
  readonly onSearch: () => void
  readonly onHelp: () => void
}): void {
  const [, go] = useLocation()
  const now = useRef(keys)
  now.current = keys
  useEffect(() => {
    let goAtMs = Number.NEGATIVE_INFINITY
    const onKey = (event: KeyboardEvent): void => {
      const isBusy = isTyping(event.target) || document.querySelector('[role="dialog"]') !== null
      if (isBusy || event.ctrlKey || event.metaKey || event.altKey) return
      const place = event.timeStamp - goAtMs < SECOND_KEY_MS ? places[event.key] : undefined
      goAtMs = event.key === 'g' && place === undefined ? event.timeStamp : Number.NEGATIVE_INFINITY
      if (place !== undefined) go(place)
      else if (event.key === '/') {
        event.preventDefault()
        now.current.onSearch()
      } else if (event.key === '?') now.current.onHelp()
    }
    document.addEventListener('keydown', onKey)
    return () => document.removeEventListener('keydown', onKey)
  }, [go])
}
