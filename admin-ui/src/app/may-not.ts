/**
 * Why a change is not possible now: the right lacks, or ZooKeeper does not answer and the page is
 * read-only. Buttons show it (admin-ui.md 1.6 and 4) instead of failing later.
 */
import type { Right } from '../../../gateway/admin/api/roles.ts'
import { useOverview } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { useText } from '../text/text.tsx'

/** Without `right` only whether anything can be changed at all. Undefined: it is possible. */
export function useMayNot(right?: Right): string | undefined {
  const { t } = useText()
  const { may } = useSession()
  const isCutOff = useIsCutOff()
  if (right !== undefined && !may(right)) return t('right.missing', { right })
  return isCutOff ? t('outage.readOnly') : undefined
}

/** ZooKeeper does not answer this gateway, as far as is known. */
export function useIsCutOff(): boolean {
  const { data } = useOverview()
  if (data === undefined) return false
  return data.zookeeper.state !== 'connected' || data.asOf.state === 'stale'
}
