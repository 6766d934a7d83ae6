/** The partitions as the meta servers list them now: health at a glance, primaries by node. */
import { useQuery } from '@tanstack/react-query'
import type { ProbeResult } from '../../../gateway/admin/api/tables.ts'
import { call } from '../api/http.ts'
import { tablePath } from '../api/queries.ts'
import { Ago } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { DataTable } from '../design/data-table.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'
import styles from './table-page.module.css'

const tones = { healthy: 'ok', short: 'warn', 'no-primary': 'bad' } as const
const words = {
  healthy: 'partitions.healthy',
  short: 'partitions.short',
  'no-primary': 'partitions.noPrimary',
} as const

export function PartitionsTab({ name }: { readonly name: string }) {
  const { t, number } = useText()
  const probe = useQuery({
    queryKey: ['table', name, 'probe'],
    queryFn: async ({ signal }) =>
      (await call<ProbeResult>(`${tablePath(name)}:probe`, { method: 'POST', body: {}, signal }))
        .data,
    staleTime: Infinity,
  })
  return (
    <Loaded query={probe} lines={8}>
      {({ partitions, askedAt, table }) => (
        <Card
          title={
            table === undefined
              ? t('table.partitions')
              : t('partitions.title', { count: partitions.length })
          }
          aside={
            <>
              <Ago at={askedAt} />
              <Button icon="refresh" busy={probe.isFetching} onClick={() => void probe.refetch()}>
                {t('partitions.again')}
              </Button>
            </>
          }
          flush
        >
          {partitions.length === 0 ? (
            <Empty
              icon="unlink"
              title={t(table === undefined ? 'partitions.unknown' : 'partitions.none')}
            >
              {t(table === undefined ? 'partitions.unknownWords' : 'partitions.noneWords')}
            </Empty>
          ) : (
            <>
              <Primaries counts={countsByNode(partitions.map(({ primary }) => primary))} />
              <DataTable
                label={t('table.partitions')}
                rows={partitions}
                rowKey={({ index }) => String(index)}
                columns={[
                  {
                    key: 'index',
                    header: t('partitions.index'),
                    cell: ({ index }) => number(index),
                  },
                  {
                    key: 'health',
                    header: t('partitions.health'),
                    cell: ({ health }) => <Status tone={tones[health]}>{t(words[health])}</Status>,
                  },
                  {
                    key: 'primary',
                    header: t('partitions.primary'),
                    cell: ({ primary }) => <code>{primary === '' ? '–' : primary}</code>,
                  },
                  {
                    key: 'secondaries',
                    header: t('partitions.secondaries'),
                    cell: ({ secondaries }) => <code>{secondaries.join(', ') || '–'}</code>,
                  },
                  {
                    key: 'ballot',
                    header: t('partitions.ballot'),
                    align: 'end',
                    minor: true,
                    cell: ({ ballot }) => ballot,
                  },
                ]}
              />
            </>
          )}
        </Card>
      )}
    </Loaded>
  )
}

function countsByNode(primaries: readonly string[]): readonly (readonly [string, number])[] {
  const counts = new Map<string, number>()
  for (const node of primaries) counts.set(node, (counts.get(node) ?? 0) + 1)
  return [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

function Primaries({ counts }: { readonly counts: readonly (readonly [string, number])[] }) {
  const { t } = useText()
  return (
    <ul className={styles.chips} aria-label={t('partitions.byNode')}>
      {counts.map(([node, count]) => (
        <li key={node}>
          <code>{node === '' ? t('partitions.noPrimary') : node}</code>{' '}
          {t('partitions.count', { count })}
        </li>
      ))}
    </ul>
  )
}
