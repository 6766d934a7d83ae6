/**
 * What is wrong with the page's own sources, above every screen (admin-ui.md 1.6): the gateway does
 * not answer, or ZooKeeper does not answer the gateway. Says how old the shown data is, what still
 * works, and goes away by itself.
 */
import { useOverview } from '../api/queries.ts'
import { Icon } from '../design/icon.tsx'
import { useText } from '../text/text.tsx'
import { useNow } from '../design/age.tsx'
import styles from './banner.module.css'
import { useIsCutOff } from './may-not.ts'

export function Banner() {
  const { t, duration } = useText()
  const overview = useOverview()
  const isCutOff = useIsCutOff()
  const nowMs = useNow()
  const { data, dataUpdatedAt, isError } = overview
  const sinceReadMs = Math.max(0, nowMs - dataUpdatedAt)
  if (isError && data !== undefined)
    return (
      <Line title={t('outage.gateway')}>
        {t('outage.gatewayWords', { age: duration(sinceReadMs) })}
      </Line>
    )
  if (!isCutOff || data === undefined) return null
  const ageMs = Math.max(data.asOf.ageMs, data.zookeeper.lastAnswerAgeMs) + sinceReadMs
  return (
    <Line title={t('outage.zookeeper')}>
      {t('outage.zookeeperWords', { age: duration(ageMs) })}
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
