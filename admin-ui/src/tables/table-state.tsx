/** The states of a mapping in words, each with its tone and its icon (admin-ui.md 3.2). */
import type { TableState } from '../../../gateway/admin/api/tables.ts'
import type { IconName } from '../design/icon.tsx'
import { Status, type Tone } from '../design/status.tsx'
import { type TextKey, useText } from '../text/text.tsx'

export const stateWords = {
  ok: { tone: 'ok', icon: 'check', text: 'tableState.ok' },
  invalid: { tone: 'bad', icon: 'error', text: 'tableState.invalid' },
  dangling: { tone: 'bad', icon: 'unlink', text: 'tableState.dangling' },
  redirected: { tone: 'info', icon: 'redirect', text: 'tableState.redirected' },
  drifted: { tone: 'warn', icon: 'drift', text: 'tableState.drifted' },
  frozen: { tone: 'neutral', icon: 'lock', text: 'tableState.frozen' },
} as const satisfies Readonly<
  Record<TableState, { readonly tone: Tone; readonly icon: IconName; readonly text: TextKey }>
>

export function TableStateMark({ state }: { readonly state: TableState }) {
  const { t } = useText()
  const { tone, icon, text } = stateWords[state]
  return (
    <Status tone={tone} icon={icon}>
      {t(text)}
    </Status>
  )
}
