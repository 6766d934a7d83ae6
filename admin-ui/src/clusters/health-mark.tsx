/** How a cluster is, as it was asked a moment ago: a word, and why on hover. */
import { useClusterHealth } from '../api/queries.ts'
import { Status } from '../design/status.tsx'
import { Tooltip } from '../design/tooltip.tsx'
import { useText } from '../text/text.tsx'

const tones = { ok: 'ok', degraded: 'warn', unreachable: 'bad' } as const

export function HealthMark({ name }: { readonly name: string }) {
  const { t } = useText()
  const { data, isError } = useClusterHealth(name)
  if (data === undefined)
    return <Status tone="neutral">{t(isError ? 'clusters.unknown' : 'clusters.asking')}</Status>
  const mark = <Status tone={tones[data.state]}>{t(`clusters.is.${data.state}`)}</Status>
  return data.reasons.length === 0 ? (
    mark
  ) : (
    <Tooltip text={data.reasons.join('; ')}>
      <span tabIndex={0}>{mark}</span>
    </Tooltip>
  )
}
