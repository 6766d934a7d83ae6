/** What approvals are called: their states, where they come from, where they are. */
import type { Approval, ApprovalState } from '../../../gateway/admin/api/approvals.ts'
import type { IconName } from '../design/icon.tsx'
import { Status, type Tone } from '../design/status.tsx'
import { type Text, type TextKey, useText } from '../text/text.tsx'

export const approvalHref = (id: string): string => `/approvals/${encodeURIComponent(id)}`

const states: Readonly<Record<ApprovalState, { readonly tone: Tone; readonly icon: IconName }>> = {
  pending: { tone: 'warn', icon: 'clock' },
  applying: { tone: 'info', icon: 'refresh' },
  applied: { tone: 'ok', icon: 'check' },
  rejected: { tone: 'neutral', icon: 'close' },
  withdrawn: { tone: 'neutral', icon: 'undo' },
  expired: { tone: 'neutral', icon: 'clock' },
}

export function ApprovalMark({ approval }: { readonly approval: Approval }) {
  const { t } = useText()
  const { state } = approval
  return <Status {...states[state]}>{t(`approvals.is.${state}`)}</Status>
}

const origins: Readonly<Record<string, TextKey>> = {
  batch: 'approvals.from.batch',
  import: 'approvals.from.import',
  'bulk-edit': 'approvals.from.bulk-edit',
  'replace-meta': 'approvals.from.replace-meta',
  adopt: 'approvals.from.adopt',
}

export function originWord({ t }: Pick<Text, 't'>, origin: string): string {
  const key = origins[origin]
  return key === undefined ? origin : t(key)
}

/** Such as `300 changes by anna`. */
export function titleOf({ t }: Pick<Text, 't'>, { counts, author }: Approval): string {
  const count = counts.create + counts.change + counts.delete
  return t('approvals.title', { count, name: author.actor })
}
