/** Light, dark or what the system says; `public/theme.js` applies it before the first paint. */
import { useSyncExternalStore } from 'react'
import { store } from './stored.ts'

export type Theme = 'light' | 'dark' | 'system'

const listeners = new Set<() => void>()

function read(): Theme {
  const { theme } = document.documentElement.dataset
  return theme === 'light' || theme === 'dark' ? theme : 'system'
}

export function setTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = theme
  store('theme', theme === 'system' ? undefined : theme)
  for (const listener of listeners) listener()
}

export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  }, read)
}
