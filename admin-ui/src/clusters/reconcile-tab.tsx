/**
 * What a cluster hosts against what is mapped to it (admin-ui.md 3.6): tables that nobody mapped are
 * adopted, mappings that point to nothing are deleted, those with foreign metas are mended; each as a
 * change set that is seen first.
 */
import { useState } from 'react'
import { Link, useSearchParams } from 'wouter'
import type { Cluster, ClusterTable, ReconcileState } from '../../../gateway/admin/api/clusters.ts'
import { clusterPath, useClusterTables } from '../api/queries.ts'
import { useMayNot } from '../app/may-not.ts'
import { ChangeSetDialog } from '../changes/change-set-dialog.tsx'
import { Ago } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { type Choice, Choices } from '../design/choices.tsx'
import { type Column, DataTable, More } from '../design/data-table.tsx'
import { control } from '../design/field.tsx'
import type { IconName } from '../design/icon.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status, type Tone } from '../design/status.tsx'
import { tableHref } from '../tables/table-columns.tsx'
import { type Text, type TextKey, useText } from '../text/text.tsx'
import styles from './reconcile-tab.module.css'

const SHOWN = 200

const states = {
  unmapped: {
    tone: 'warn',
    icon: 'plus',
    text: 'reconcile.unmapped',
    words: 'reconcile.unmappedWords',
  },
  dangling: {
    tone: 'bad',
    icon: 'unlink',
    text: 'reconcile.dangling',
    words: 'reconcile.danglingWords',
  },
  mismatched: {
    tone: 'bad',
    icon: 'drift',
    text: 'reconcile.mismatched',
    words: 'reconcile.mismatchedWords',
  },
  elsewhere: {
    tone: 'info',
    icon: 'redirect',
    text: 'reconcile.elsewhere',
    words: 'reconcile.elsewhereWords',
  },
  mapped: { tone: 'ok', icon: 'check', text: 'reconcile.mapped', words: 'reconcile.mappedWords' },
} as const satisfies Readonly<
  Record<
    ReconcileState,
    {
      readonly tone: Tone
      readonly icon: IconName
      readonly text: TextKey
      readonly words: TextKey
    }
  >
>
const order = Object.keys(states) as ReconcileState[]

interface Mending {
  readonly title: string
  readonly path: string
  readonly body: unknown
}

export function ReconcileTab({ cluster }: { readonly cluster: Cluster }) {
  const { t } = useText()
  const tables = useClusterTables(cluster.name)
  return (
    <Loaded query={tables} lines={8}>
      {(found) => (
        <Card
          title={t('reconcile.title')}
          aside={
            <>
              <Ago at={found.askedAt} />
              <Button icon="refresh" busy={tables.isFetching} onClick={() => void tables.refetch()}>
                {t('partitions.again')}
              </Button>
            </>
          }
          flush
        >
          <Compared cluster={cluster} tables={found.tables} />
        </Card>
      )}
    </Loaded>
  )
}

function Compared(props: { readonly cluster: Cluster; readonly tables: readonly ClusterTable[] }) {
  const { cluster, tables } = props
  const text = useText()
  const { t, number } = text
  const mayNot = useMayNot('tables.edit')
  const [params, setParams] = useSearchParams()
  const [filter, setFilter] = useState('')
  const [limit, setLimit] = useState(SHOWN)
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const [mending, setMending] = useState<Mending>()
  const counts = new Map<ReconcileState, number>()
  for (const { state: one } of tables) counts.set(one, (counts.get(one) ?? 0) + 1)
  const state =
    order.find((one) => one === params.get('state')) ??
    order.find((one) => (counts.get(one) ?? 0) > 0) ??
    'mapped'
  const wanted = filter.trim().toLowerCase()
  const shown = tables.filter(
    (table) => table.state === state && table.name.toLowerCase().includes(wanted),
  )
  const names = shown
    .map(({ name }) => name)
    .filter((name) => chosen.size === 0 || chosen.has(name))
  const act = actionOf(state, cluster, names, text)
  const choices: Choice<ReconcileState>[] = order.map((one) => ({
    value: one,
    label: t(states[one].text),
    mark: (
      <Status
        tone={(counts.get(one) ?? 0) > 0 ? states[one].tone : 'neutral'}
        icon={states[one].icon}
      >
        {number(counts.get(one) ?? 0)}
      </Status>
    ),
  }))
  return (
    <>
      <div className={styles.head}>
        <Choices
          label={t('reconcile.states')}
          value={state}
          choices={choices}
          onChange={(next) => {
            setChosen(new Set())
            setLimit(SHOWN)
            setParams({ state: next }, { replace: true })
          }}
        />
        <p className={styles.words}>{t(states[state].words)}</p>
        <div className={styles.tools}>
          <input
            className={control}
            type="search"
            aria-label={t('changes.filter')}
            placeholder={t('changes.filter')}
            value={filter}
            onChange={({ target }) => setFilter(target.value)}
          />
          {act !== undefined && names.length > 0 && (
            <Button
              look={state === 'dangling' ? 'danger' : 'secondary'}
              reason={mayNot}
              onClick={() => setMending(act.mending)}
            >
              {act.label}
            </Button>
          )}
        </div>
      </div>
      {shown.length === 0 ? (
        <Empty
          icon={wanted === '' ? states[state].icon : 'search'}
          title={t(wanted === '' ? 'reconcile.none' : 'tables.noMatch')}
        />
      ) : (
        <>
          <DataTable
            label={t(states[state].text)}
            rows={shown.slice(0, limit)}
            rowKey={({ name }) => name}
            columns={columnsOf(text, act === undefined ? undefined : chosen, (name) => {
              const next = new Set(chosen)
              if (!next.delete(name)) next.add(name)
              setChosen(next)
            })}
          />
          {shown.length > limit && (
            <More shown={limit} total={shown.length} onMore={() => setLimit(limit + SHOWN)} />
          )}
        </>
      )}
      {mending !== undefined && (
        <ChangeSetDialog
          {...mending}
          onClose={() => {
            setMending(undefined)
            setChosen(new Set())
          }}
        />
      )}
    </>
  )
}

/** What can be done about tables of a state; undefined where nothing is wrong. */
function actionOf(
  state: ReconcileState,
  { name: cluster, metas }: Cluster,
  names: readonly string[],
  { t }: Text,
): { readonly label: string; readonly mending: Mending } | undefined {
  const count = names.length
  const action = (title: string, path: string, body: unknown) => ({
    label: title,
    mending: { title, path, body },
  })
  switch (state) {
    case 'unmapped':
      return action(t('reconcile.adopt', { count }), `${clusterPath(cluster)}:adopt`, {
        tables: names,
      })
    case 'dangling':
      return action(t('bulk.delete', { count }), '/tables:preview', {
        select: { names },
        delete: true,
      })
    case 'mismatched':
      return action(t('reconcile.mend', { count }), '/tables:preview', {
        select: { names },
        patch: { metas },
      })
    case 'elsewhere':
    case 'mapped':
      return undefined
    default:
      return state satisfies never
  }
}

function columnsOf(
  { t, number }: Text,
  chosen: ReadonlySet<string> | undefined,
  toggle: (name: string) => void,
): Column<ClusterTable>[] {
  const pick: Column<ClusterTable> = {
    key: 'pick',
    narrow: true,
    header: <span className="only-heard">{t('reconcile.pick')}</span>,
    cell: ({ name }) => (
      <input
        type="checkbox"
        className={styles.pick}
        aria-label={t('tables.select', { name })}
        checked={chosen?.has(name) === true}
        onChange={() => toggle(name)}
      />
    ),
  }
  return [
    ...(chosen === undefined ? [] : [pick]),
    {
      key: 'name',
      header: t('tables.name'),
      cell: ({ name, state }) =>
        state === 'unmapped' ? name : <Link href={tableHref(name)}>{name}</Link>,
    },
    {
      key: 'id',
      narrow: true,
      header: t('reconcile.appId'),
      align: 'end',
      cell: ({ appId }) => (appId === undefined ? '–' : String(appId)),
    },
    {
      key: 'partitions',
      narrow: true,
      header: t('table.partitions'),
      align: 'end',
      cell: ({ partitionCount }) => (partitionCount === undefined ? '–' : number(partitionCount)),
    },
    {
      key: 'status',
      header: t('reconcile.status'),
      minor: true,
      cell: ({ status }) => status ?? '–',
    },
    {
      key: 'mapped',
      header: t('reconcile.mappedTo'),
      cell: ({ mappedTo, metas }) =>
        mappedTo === undefined ? (
          '–'
        ) : (
          <>
            {mappedTo} <code className={styles.metas}>{metas?.join(', ')}</code>
          </>
        ),
    },
  ]
}
