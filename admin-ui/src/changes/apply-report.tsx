/** What became of each change of an apply; the failed and skipped ones first, and as a file. */
import type { ApplyResult, ItemResult } from '../../../gateway/admin/api/changes.ts'
import { Button } from '../design/button.tsx'
import { DataTable } from '../design/data-table.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'
import styles from './change-set.module.css'

const SHOWN_MAX = 200
export const tones = { done: 'ok', failed: 'bad', skipped: 'warn' } as const
const order = { failed: 0, skipped: 1, done: 2 } as const

function csvOf(results: readonly ItemResult[]): string {
  const cell = (text: string): string => `"${text.replaceAll('"', '""')}"`
  const lines = results.map(({ name, status, problem }) =>
    [name, status, problem?.detail ?? ''].map(cell).join(','),
  )
  return ['table,result,why', ...lines, ''].join('\n')
}

/** Hands a text to the browser as a file. */
export function saveFile(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}

export function ApplyReport(props: { readonly result: ApplyResult; readonly onClose: () => void }) {
  const { result, onClose } = props
  const { t } = useText()
  const words = {
    done: t('changes.done', { count: result.done }),
    failed: t('changes.failed', { count: result.failed }),
    skipped: t('changes.skipped', { count: result.skipped }),
  }
  const sorted = result.results.toSorted((a, b) => order[a.status] - order[b.status])
  return (
    <div className={styles.review}>
      <p className={styles.summary} role="status">
        {(['done', 'failed', 'skipped'] as const).map((status) => (
          <Status key={status} tone={result[status] > 0 ? tones[status] : 'neutral'}>
            {words[status]}
          </Status>
        ))}
      </p>
      <DataTable
        label={t('changes.report')}
        rows={sorted.slice(0, SHOWN_MAX)}
        rowKey={({ name }) => name}
        columns={[
          { key: 'name', header: t('tables.name'), cell: ({ name }) => name },
          {
            key: 'status',
            header: t('tables.state'),
            cell: ({ status }) => <Status tone={tones[status]}>{t(`changes.is.${status}`)}</Status>,
          },
          { key: 'why', header: t('changes.why'), cell: ({ problem }) => problem?.detail ?? '' },
        ]}
      />
      {sorted.length > SHOWN_MAX && (
        <p className={styles.hint}>{t('changes.more', { count: sorted.length - SHOWN_MAX })}</p>
      )}
      <div className={styles.actions}>
        <Button
          icon="download"
          onClick={() => saveFile('metaproxy-result.csv', 'text/csv', csvOf(sorted))}
        >
          {t('changes.resultFile')}
        </Button>
        <Button look="primary" onClick={onClose}>
          {t('action.close')}
        </Button>
      </div>
    </div>
  )
}
