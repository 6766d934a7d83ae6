/**
 * Times as people read them: how long ago, with the exact moment on hover; and the freshness of what
 * a view shows (admin-ui.md 4). One clock ticks for all of them.
 */
import { createContext, useContext, useSyncExternalStore } from 'react'
import type { Freshness } from '../../../gateway/admin/api/requests.ts'
import { useText } from '../text/text.tsx'
import { Icon } from './icon.tsx'
import { Choice } from './stored.ts'
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

/** Whose clock exact times are shown by. */
export type Zone = 'local' | 'utc'
export const zone = new Choice<Zone>('zone', ['local', 'utc'], 'local')

/** Made once for each language and zone: making them costs more than all that they do. */
function formatsOf(language: string, shown: Zone): Formats {
  const key = `${language} ${shown}`
  const known = formats.get(key)
  if (known !== undefined) return known
  const made = {
    relative: new Intl.RelativeTimeFormat(language, { numeric: 'auto' }),
    exact: new Intl.DateTimeFormat(language, {
      dateStyle: 'medium',
      timeStyle: 'long',
      ...(shown === 'utc' ? { timeZone: 'UTC' } : {}),
    }),
  }
  formats.set(key, made)
  return made
}

function relative(format: Intl.RelativeTimeFormat, atMs: number): string {
  const seconds = Math.round((atMs - Math.max(nowMs, atMs > nowMs ? Date.now() : nowMs)) / 1000)
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
  const format = formatsOf(useText().language, zone.use())
  useNow()
  const date = new Date(at)
  return (
    <time dateTime={at} title={format.exact.format(date)} className={styles.ago}>
      {relative(format.relative, date.getTime())}
    </time>
  )
}

/** The moment itself, where it matters to the second. */
export function Moment({ at }: { readonly at: string }) {
  const { exact } = formatsOf(useText().language, zone.use())
  return (
    <time dateTime={at} className={styles.ago}>
      {exact.format(new Date(at))}
    </time>
  )
}

/** How long ZooKeeper has not answered, ms: what was live when it was read is no longer. */
export const OutageAge = createContext<number | undefined>(undefined)

/** How old the shown data is: live, being read, or from before ZooKeeper went away. */
export function FreshnessMark({ asOf: known }: { readonly asOf: Freshness }) {
  const { t, duration } = useText()
  const outageMs = useContext(OutageAge)
  const asOf: Freshness =
    known.state === 'live' && outageMs !== undefined ? { state: 'stale', ageMs: outageMs } : known
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
