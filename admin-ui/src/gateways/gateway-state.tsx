/** Whether a gateway serves what it should, in one mark. */
import type { Gateway } from '../../../gateway/admin/api/gateways.ts'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'

export const gatewayHref = (id: string): string => `/gateways/${encodeURIComponent(id)}`

export function GatewayState({ gateway }: { readonly gateway: Gateway }) {
  const { t } = useText()
  if (gateway.draining || gateway.drain !== undefined)
    return (
      <Status tone="info" icon="drain">
        {t('gateways.draining')}
      </Status>
    )
  if (gateway.zookeeper !== 'connected')
    return <Status tone="bad">{t('gateways.zookeeper', { state: gateway.zookeeper })}</Status>
  if (gateway.behind > 0)
    return (
      <Status tone="warn" icon="clock">
        {t('gateways.behind', { count: gateway.behind })}
      </Status>
    )
  return <Status tone="ok">{t('gateways.ok')}</Status>
}
