/** Meta servers as they answered: who leads, how fast, who does not. */
import type { MetaProbe } from '../../../gateway/admin/api/tables.ts'
import { Line, LineDetail, Lines } from '../design/facts.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'

export function MetaLines({ metas }: { readonly metas: readonly MetaProbe[] }) {
  const { t } = useText()
  return (
    <Lines label={t('form.metas')}>
      {metas.map(({ address, reachable, leader, latencyMs, error }) => (
        <Line key={address} name={<code>{address}</code>}>
          {leader && <Status tone="info">{t('route.leader')}</Status>}
          {reachable ? (
            <Status tone="ok">
              {latencyMs === undefined
                ? t('route.reachable')
                : t('route.ms', { ms: Math.round(latencyMs * 10) / 10 })}
            </Status>
          ) : (
            <Status tone="bad">{t('route.unreachable')}</Status>
          )}
          {error !== undefined && <LineDetail>{error}</LineDetail>}
        </Line>
      ))}
    </Lines>
  )
}
