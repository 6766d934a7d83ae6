/**
 * Queries per second of a table in the list. Not part of the list itself, which waits for no gateway:
 * the fleet is asked every ten seconds while somebody looks, and an old figure says so.
 */
import type { TableRates } from '../../../gateway/admin/api/table-fleet.ts'
import { useNow } from '../design/age.tsx'
import { Icon } from '../design/icon.tsx'
import { Unknown } from '../design/unknown.tsx'
import { type Text, useText } from '../text/text.tsx'
import styles from './table-grid.module.css'

const OLD_MS = 30_000

export function Rate(props: { readonly table: string; readonly rates: TableRates | undefined }) {
  const { table, rates } = props
  const text = useText()
  const { t, rate } = text
  const nowMs = useNow()
  if (rates?.overSeconds === undefined) return <Unknown why={t('tables.rateFirst')} />
  const perSecond = rates.rates[table] ?? (rates.truncated ? undefined : 0)
  if (perSecond === undefined) return <Unknown why={t('tables.rateUncounted')} />
  const isOld = nowMs - Date.parse(rates.askedAt) > OLD_MS
  const missing = rates.silent.length + rates.pending.length
  return (
    <span className={isOld ? styles.old : styles.rate} title={titleOf(text, rates, missing)}>
      {isOld && <Icon name="clock" size={12} />}
      {missing > 0 && '≥ '}
      {rate(perSecond)}
    </span>
  )
}

function titleOf({ t }: Text, { overSeconds = 0 }: TableRates, missing: number): string {
  return missing > 0
    ? t('tables.rateWithout', { count: missing })
    : t('tables.rateOver', { seconds: overSeconds })
}
