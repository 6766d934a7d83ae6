/** Changes that wait for a second person, and those that were decided within a day. */
import { Link } from 'wouter'
import type { Approval } from '../../../gateway/admin/api/approvals.ts'
import { useApprovals } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { Ago, FreshnessMark } from '../design/age.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { type Text, useText } from '../text/text.tsx'
import { ApprovalMark, approvalHref, originWord, titleOf } from './approval-words.tsx'

export function Approvals() {
  const text = useText()
  const { t } = text
  const { approvalAbove } = useSession().info
  const approvals = useApprovals()
  return (
    <Page
      title={t('approvals.label')}
      parent={{ href: '/audit', label: t('nav.audit') }}
      facts={approvals.data !== undefined && <FreshnessMark asOf={approvals.data.asOf} />}
    >
      <Card flush>
        <Loaded query={approvals}>
          {(list) =>
            list.approvals.length === 0 ? (
              <Empty icon="check" title={t('approvals.none')}>
                {approvalAbove === 0
                  ? t('approvals.off')
                  : t('approvals.noneWords', { above: approvalAbove })}
              </Empty>
            ) : (
              <DataTable
                label={t('approvals.label')}
                rows={list.approvals}
                rowKey={({ id }) => id}
                columns={columnsOf(text)}
              />
            )
          }
        </Loaded>
      </Card>
    </Page>
  )
}

function columnsOf(text: Text): Column<Approval>[] {
  const { t } = text
  return [
    {
      key: 'what',
      header: t('audit.what'),
      cell: (approval) => (
        <strong>
          <Link href={approvalHref(approval.id)}>{titleOf(text, approval)}</Link>
        </strong>
      ),
    },
    {
      key: 'state',
      header: t('tables.state'),
      cell: (approval) => <ApprovalMark approval={approval} />,
    },
    { key: 'at', header: t('audit.when'), cell: ({ author }) => <Ago at={author.at} /> },
    {
      key: 'origin',
      header: t('audit.source'),
      minor: true,
      cell: ({ origin }) => originWord(text, origin),
    },
    {
      key: 'decision',
      header: t('approvals.decidedBy'),
      minor: true,
      cell: ({ decision }) => decision?.actor ?? '–',
    },
    {
      key: 'reason',
      header: t('audit.reason'),
      minor: true,
      cell: ({ author }) => author.reason ?? '–',
    },
  ]
}
