/**
 * One change that waits for a second person: who asks for what and why, every difference, and the
 * decision. Afterwards what became of each mapping.
 */
import { useRoute } from 'wouter'
import type { Approval } from '../../../gateway/admin/api/approvals.ts'
import { useApproval, useApprovals } from '../api/queries.ts'
import { ChangeItems } from '../changes/change-items.tsx'
import { Ago } from '../design/age.tsx'
import { Card } from '../design/card.tsx'
import { Fact, Facts } from '../design/facts.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'
import { ApprovalMark, originWord, titleOf } from './approval-words.tsx'
import styles from './approvals.module.css'
import { Decision } from './decision.tsx'

export function ApprovalPage() {
  const [, params] = useRoute('/approvals/:id')
  const id = params?.id ?? ''
  const text = useText()
  const { t } = text
  const parent = { href: '/approvals', label: t('approvals.label') }
  const list = useApprovals()
  const approval = list.data?.approvals.find((one) => one.id === id)
  if (approval === undefined)
    return (
      <Page title={id} parent={parent}>
        <Loaded query={list}>
          {() => (
            <Empty icon="audit" title={t('approvals.absent')}>
              {t('approvals.absentWords')}
            </Empty>
          )}
        </Loaded>
      </Page>
    )
  return (
    <Page
      title={titleOf(text, approval)}
      parent={parent}
      facts={<ApprovalMark approval={approval} />}
    >
      <div className={styles.stack}>
        <Card title={t('approvals.facts')}>
          <Known approval={approval} />
        </Card>
        <Items approval={approval} />
        <Decision key={approval.id} approval={approval} />
      </div>
    </Page>
  )
}

function Known({ approval }: { readonly approval: Approval }) {
  const text = useText()
  const { t } = text
  const { author, decision, origin, atomic, registry, until, state } = approval
  return (
    <Facts>
      <Fact label={t('approvals.askedBy')}>
        {author.actor} · <Ago at={author.at} />
      </Fact>
      <Fact label={t('audit.reason')}>{author.reason ?? '–'}</Fact>
      <Fact label={t('audit.source')}>
        {originWord(text, origin)}
        {atomic && ` · ${t('approvals.atomic')}`}
      </Fact>
      {registry !== undefined && (
        <Fact label={t('approvals.registry', { name: registry.cluster })}>
          {registry.metas.join(', ')}
        </Fact>
      )}
      {decision !== undefined && (
        <Fact label={t('approvals.decidedBy')}>
          {decision.actor} · <Ago at={decision.at} />
          {decision.reason !== undefined && ` · ${decision.reason}`}
        </Fact>
      )}
      {state === 'pending' && (
        <Fact label={t('approvals.until')}>
          <Ago at={until} />
        </Fact>
      )}
      <Outcome approval={approval} />
    </Facts>
  )
}

function Outcome({ approval: { progress } }: { readonly approval: Approval }) {
  const { t } = useText()
  if (progress === undefined) return null
  const { done, failed, skipped } = progress
  return (
    <Fact label={t('changes.report')}>
      <span className={styles.marks}>
        <Status tone={done > 0 ? 'ok' : 'neutral'}>{t('changes.done', { count: done })}</Status>
        <Status tone={failed > 0 ? 'bad' : 'neutral'}>
          {t('changes.failed', { count: failed })}
        </Status>
        <Status tone={skipped > 0 ? 'warn' : 'neutral'}>
          {t('changes.skipped', { count: skipped })}
        </Status>
      </span>
    </Fact>
  )
}

/** Read again when its state is another one. */
function Items({ approval: { id, state } }: { readonly approval: Approval }) {
  const { t } = useText()
  const detail = useApproval(id, state)
  return (
    <Card title={t('changes.items')}>
      <Loaded query={detail} lines={8}>
        {({ items }) => (
          <div className={styles.stack}>
            <ChangeItems items={items} />
          </div>
        )}
      </Loaded>
    </Card>
  )
}
