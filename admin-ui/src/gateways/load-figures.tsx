/**
 * How busy a gateway is, one figure after the other, with units; a dash and the reason where it does
 * not say. What needs a look is marked.
 */
import type { ReactNode } from 'react'
import type { Gateway, GatewayLoad } from '../../../gateway/admin/api/gateways.ts'
import { Status } from '../design/status.tsx'
import { Unknown } from '../design/unknown.tsx'
import { type Text, type TextKey, useText } from '../text/text.tsx'
import styles from './gateways.module.css'

/** From here on a gateway refuses work before long (`overload.lagMs`). */
const LATE_MS = 500

export interface Figure {
  readonly key: string
  readonly label: TextKey
  readonly hint: TextKey
  /** Undefined: not known, because of `unknown`. */
  readonly value: (load: GatewayLoad, text: Text) => ReactNode
  readonly unknown?: TextKey
}

export const figures: readonly Figure[] = [
  {
    key: 'queries',
    label: 'gateways.queries',
    hint: 'gateways.queriesHint',
    value: ({ queriesPerSecond }, { rate }) => rate(queriesPerSecond),
  },
  {
    key: 'p99',
    label: 'gateways.p99',
    hint: 'gateways.p99Hint',
    unknown: 'gateways.noQueries',
    value: ({ p99Ms }, { t }) =>
      p99Ms === undefined ? undefined : t('gateways.atMost', { ms: p99Ms }),
  },
  {
    key: 'errors',
    label: 'gateways.errors',
    hint: 'gateways.errorsHint',
    value: ({ errorsPerSecond }, { rate }) =>
      errorsPerSecond === 0 ? rate(0) : <Status tone="bad">{rate(errorsPerSecond)}</Status>,
  },
  {
    key: 'lag',
    label: 'gateways.lag',
    hint: 'gateways.lagHint',
    value: ({ loopLagMs }, { t }) => {
      const words = t('gateways.atMost', { ms: loopLagMs })
      return loopLagMs < LATE_MS ? words : <Status tone="warn">{words}</Status>
    },
  },
  {
    key: 'routes',
    label: 'gateways.routes',
    hint: 'gateways.routesHint',
    value: ({ routes }, { number }) => number(routes),
  },
]

export function FigureValue(props: { readonly figure: Figure; readonly gateway: Gateway }) {
  const text = useText()
  const { value, unknown } = props.figure
  const { load } = props.gateway
  const shown = load === undefined ? undefined : value(load, text)
  if (shown !== undefined) return <span className={styles.figure}>{shown}</span>
  return <Unknown why={text.t((load && unknown) ?? 'gateways.noLoad')} />
}
