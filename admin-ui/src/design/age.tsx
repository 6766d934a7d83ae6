/**
 * Times as people read them: how long ago, with the exact moment on hover; and the freshness of what
 * a view shows (admin-ui.md 4). One clock ticks for all of them.
 */
import { useSyncExternalStore } from 'react'
import type { Freshness } from '../../../gateway/admin/api/requests.ts'
import { useText } from '../text/text.tsx'
import { Icon } from './icon.tsx'
import styles from './age.module.css'

const TICK_MS = 5000
const listeners = new Set<() => void>()
let nowMs = Date.now()
let timer: ReturnType<typeof setInterval> | undefined

function listen(listener: () => void): () => void {
  listeners.add(listener)
  timer ??= setInterval(() => {
    nowMs = Date.now()
    for (const tell of listeners) tell()
  }, TICK_MS)
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
}

const units = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
] as const

interface Formats {
  readonly relative: Intl.RelativeTimeFormat
  readonly exact: Intl.DateTimeFormat
}
const formats = new Map<string, Formats>()

/** Made once for each language: making them costs more than all that they do. */
function formatsOf(language: string): Formats {
  const known = formats.get(language)
  if (known !== undefined) return known
  const made = {
    relative: new Intl.RelativeTimeFormat(language, { numeric: 'auto' }),
    exact: new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'long' }),
  }
  formats.set(language, made)
  return made
}

function relative(language: string, atMs: number): string {
  const seconds = Math.round((atMs - Math.max(nowMs, atMs > nowMs ? Date.now() : nowMs)) / 1000)
  const format = formatsOf(language).relative
  for (const [unit, size] of units)
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit)
  return Math.abs(seconds) < 10 ? format.format(0, 'second') : format.format(seconds, 'second')
}

/** The clock that ages are shown by; moves on every few seconds. */
export function useNow(): number {
  return useSyncExternalStore(listen, () => nowMs)
}

/** `at`: ISO 8601. */
export function Ago({ at }: { readonly at: string }) {
  const { language } = useText()
  useNow()
  const date = new Date(at)
  const exact = formatsOf(language).exact.format(date)
  return (
    <time dateTime={at} title={`${exact} · ${date.toISOString()}`} className={styles.ago}>
      {relative(language, date.getTime())}
    </time>
  )
}

/** How old the shown data is: live, being read, or from before ZooKeeper went away. */
export function FreshnessMark({ asOf }: { readonly asOf: Freshness }) {
  const { t, duration } = useText()
  if (asOf.state === 'live')
    return (
      <span className={styles.live}>
        <span className={styles.dot} aria-hidden="true" />
        {t('age.live')}
      </span>
    )
  return (
    <span className={styles.stale}>
      <Icon name="clock" size={12} />
      {asOf.state === 'loading' ? t('age.loading') : t('age.stale', { age: duration(asOf.ageMs) })}
    </span>
  )
}
