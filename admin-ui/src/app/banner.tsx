/**
 * What is wrong with the page's own sources, above every screen (admin-ui.md 1.6): the gateway does
 * not answer, or ZooKeeper does not answer the gateway. Says how old the shown data is, what still
 * works, and goes away by itself.
 */
import type { ReactNode } from 'react'
import { useOverview } from '../api/queries.ts'
import { Icon } from '../design/icon.tsx'
import { useText } from '../text/text.tsx'
import { OutageAge, useNow } from '../design/age.tsx'
import styles from './banner.module.css'
import { useIsCutOff } from './may-not.ts'

/** How long ZooKeeper has not answered, ms; undefined while it does. */
function useOutageAge(): number | undefined {
  const { data, dataUpdatedAt } = useOverview()
  const isCutOff = useIsCutOff()
  const nowMs = useNow()
  if (!isCutOff || data === undefined) return undefined
  const sinceReadMs = Math.max(0, nowMs - dataUpdatedAt)
  return Math.max(data.asOf.ageMs, data.zookeeper.lastAnswerAgeMs) + sinceReadMs
}

/** Tells the views below, whose data is no longer live then. */
export function WithOutageAge({ children }: { readonly children: ReactNode }) {
  return <OutageAge.Provider value={useOutageAge()}>{children}</OutageAge.Provider>
}

export function Banner() {
  const { t, duration } = useText()
  const { data, dataUpdatedAt, isError } = useOverview()
  const nowMs = useNow()
  const outageMs = useOutageAge()
  if (isError && data !== undefined)
    return (
      <Line title={t('outage.gateway')}>
        {t('outage.gatewayWords', { age: duration(Math.max(0, nowMs - dataUpdatedAt)) })}
      </Line>
    )
  if (outageMs === undefined) return null
  return (
    <Line title={t('outage.zookeeper')}>
      {t('outage.zookeeperWords', { age: duration(outageMs) })}
    </Line>
  )
}

function Line(props: { readonly title: string; readonly children: string }) {
  return (
    <div className={styles.banner} role="alert">
      <Icon name="warning" />
      <p>
        <strong>{props.title}</strong> {/* The age goes on: not to be read out each time. */}
        <span aria-live="off">{props.children}</span>
      </p>
    </div>
  )
}
