/** Audit entries as lines, newest first; each opens to what was before and after. */
import { useState } from 'react'
import { Link } from 'wouter'
import type { AuditEntry } from '../../../gateway/admin/api/audit.ts'
import { Ago } from '../design/age.tsx'
import { IconButton } from '../design/button.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Diff } from '../design/diff.tsx'
import { Status } from '../design/status.tsx'
import { type Text, useText } from '../text/text.tsx'
import styles from './audit-lines.module.css'
import { actionWord, kindWord, sourceWord } from './audit-words.ts'

export function AuditLines({ entries }: { readonly entries: readonly AuditEntry[] }) {
  const text = useText()
  const { t } = text
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set())
  const toggle = (seq: number): void => {
    const next = new Set(open)
    if (!next.delete(seq)) next.add(seq)
    setOpen(next)
  }
  return (
    <DataTable
      label={t('audit.label')}
      rows={entries}
      rowKey={({ seq }) => String(seq)}
      columns={columnsOf(text, open, toggle)}
      below={(entry) => open.has(entry.seq) && <Details entry={entry} />}
    />
  )
}

function columnsOf(
  text: Text,
  open: ReadonlySet<number>,
  toggle: (seq: number) => void,
): Column<AuditEntry>[] {
  const { t } = text
  return [
    {
      key: 'open',
      narrow: true,
      header: <span className="only-heard">{t('audit.details')}</span>,
      cell: ({ seq }) => (
        <IconButton
          icon={open.has(seq) ? 'chevronDown' : 'chevronRight'}
          label={t('audit.detailsOf', { seq })}
          aria-expanded={open.has(seq)}
          onClick={() => toggle(seq)}
        />
      ),
    },
    { key: 'at', header: t('audit.when'), cell: ({ at }) => <Ago at={at} /> },
    {
      key: 'change',
      header: t('audit.what'),
      cell: (entry) => (
        <span className={styles.change}>
          <strong>{actionWord(text, entry.action)}</strong> {kindWord(text, entry.kind)}{' '}
          <ObjectLink entry={entry} />
          {entry.versions !== undefined && ` · ${t('history.versions', { count: entry.versions })}`}
        </span>
      ),
    },
    {
      key: 'actor',
      header: t('audit.who'),
      cell: ({ actor, source, approvedBy }) => (
        <span className={styles.actor}>
          {actor}{' '}
          <Status tone={source === 'external' ? 'warn' : 'neutral'} icon="user">
            {sourceWord(text, source)}
          </Status>
          {approvedBy !== undefined && ` ${t('audit.approvedBy', { name: approvedBy })}`}
        </span>
      ),
    },
    {
      key: 'reason',
      header: t('audit.reason'),
      minor: true,
      cell: ({ reason }) => reason ?? <span className={styles.none}>–</span>,
    },
  ]
}

const pages: Readonly<Record<string, string>> = {
  table: '/tables/',
  cluster: '/clusters/',
  group: '/groups/',
  gateway: '/gateways/',
  approval: '/approvals/',
}

function ObjectLink({ entry: { kind, name } }: { readonly entry: AuditEntry }) {
  const page = pages[kind]
  return page === undefined ? name : <Link href={`${page}${encodeURIComponent(name)}`}>{name}</Link>
}

function Details({ entry }: { readonly entry: AuditEntry }) {
  const { t } = useText()
  return (
    <div className={styles.details}>
      <Diff before={entry.before ?? ''} after={entry.after ?? ''} />
      <dl className={styles.facts}>
        <dt>{t('audit.number')}</dt>
        <dd>
          <Link href={`/audit?entry=${entry.seq}`}>{entry.seq}</Link>
        </dd>
        <dt>{t('audit.from')}</dt>
        <dd>{entry.from === '' ? '–' : entry.from}</dd>
        <dt>{t('audit.gateway')}</dt>
        <dd>{entry.gateway}</dd>
        <dt>{t('audit.request')}</dt>
        <dd>
          <code>{entry.requestId}</code>
        </dd>
        <dt>{t('audit.hash')}</dt>
        <dd>
          <code>{entry.hash}</code>
        </dd>
      </dl>
    </div>
  )
}
