/** Who changed what and why: filters in the address, entries page after page, the chain's proof. */
import { useState } from 'react'
import { Link, useSearchParams } from 'wouter'
import { pathOf } from '../api/http.ts'
import { useAudit, useAuditVerification } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { zone } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { control, Field } from '../design/field.tsx'
import { Menu, MenuItem } from '../design/menu.tsx'
import { Page } from '../design/page.tsx'
import { Empty, Failure, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { type TextKey, useText } from '../text/text.tsx'
import { AuditLines } from './audit-lines.tsx'
import { dayAsMoment } from './audit-days.ts'
import { actions, kinds, sources } from './audit-words.ts'
import styles from './audit.module.css'

const PAGE = 50
const filterNames = ['q', 'actor', 'name', 'kind', 'action', 'source', 'since', 'until'] as const
type FilterName = (typeof filterNames)[number]

const choices: Readonly<Partial<Record<FilterName, Readonly<Record<string, TextKey>>>>> = {
  kind: kinds,
  action: actions,
  source: sources,
}

const labels: Readonly<Record<FilterName, TextKey>> = {
  q: 'audit.anything',
  actor: 'audit.who',
  name: 'audit.object',
  kind: 'audit.kind',
  action: 'audit.action',
  source: 'audit.source',
  since: 'audit.since',
  until: 'audit.until',
}

export function Audit() {
  const { t } = useText()
  const { approvalAbove } = useSession().info
  const [params, setParams] = useSearchParams()
  const filters = Object.fromEntries(
    filterNames.flatMap((name) => {
      const value = params.get(name)
      return value === null || value === '' ? [] : [[name, value]]
    }),
  )
  const isFiltered = Object.keys(filters).length > 0
  const shownZone = zone.use()
  const asked = {
    ...filters,
    since: dayAsMoment(filters['since'], 'begin', shownZone),
    until: dayAsMoment(filters['until'], 'end', shownZone),
  }
  const audit = useAudit({ ...asked, limit: PAGE })
  const setFilter = (name: FilterName, value: string): void => {
    setParams(
      (before) => {
        const next = new URLSearchParams(before)
        if (value === '') next.delete(name)
        else next.set(name, value)
        return next
      },
      { replace: true },
    )
  }
  return (
    <Page
      title={t('nav.audit')}
      facts={
        <>
          <Verification />
          {approvalAbove > 0 && <Link href="/approvals">{t('approvals.label')}</Link>}
        </>
      }
      actions={
        <Menu trigger={<Button icon="download">{t('audit.export')}</Button>}>
          {(['csv', 'jsonl'] as const).map((format) => (
            <MenuItem
              key={format}
              onSelect={() => location.assign(pathOf('/audit:export', { ...asked, format }))}
            >
              {t(format === 'csv' ? 'audit.exportCsv' : 'audit.exportJson')}
            </MenuItem>
          ))}
        </Menu>
      }
    >
      <div className={styles.filters} role="search">
        {filterNames.map((name) => (
          <Field key={name} label={t(labels[name])}>
            {(ids) =>
              choices[name] === undefined ? (
                <input
                  {...ids}
                  type={name === 'since' || name === 'until' ? 'date' : 'search'}
                  className={control}
                  value={filters[name] ?? ''}
                  onChange={({ target }) => setFilter(name, target.value)}
                />
              ) : (
                <select
                  {...ids}
                  className={control}
                  value={filters[name] ?? ''}
                  onChange={({ target }) => setFilter(name, target.value)}
                >
                  <option value="">{t('audit.any')}</option>
                  {Object.entries(choices[name]).map(([value, words]) => (
                    <option key={value} value={value}>
                      {t(words)}
                    </option>
                  ))}
                </select>
              )
            }
          </Field>
        ))}
      </div>
      <Card flush>
        <Loaded query={audit} lines={8}>
          {({ pages }) => {
            const entries = pages.flatMap((page) => page.entries)
            if (entries.length > 0) return <AuditLines entries={entries} />
            return isFiltered ? (
              <Empty
                icon="search"
                title={t('audit.noMatch')}
                action={
                  <Button onClick={() => setParams(new URLSearchParams())}>
                    {t('action.clearFilters')}
                  </Button>
                }
              />
            ) : (
              <Empty icon="audit" title={t('audit.none')}>
                {t('audit.noneWords')}
              </Empty>
            )
          }}
        </Loaded>
        {audit.hasNextPage && (
          <div className={styles.more}>
            <Button busy={audit.isFetchingNextPage} onClick={() => void audit.fetchNextPage()}>
              {t('action.older')}
            </Button>
          </div>
        )}
      </Card>
    </Page>
  )
}

/** Reads the whole chain, so it is asked for by hand. */
function Verification() {
  const { t } = useText()
  const [isAsked, setAsked] = useState(false)
  const verification = useAuditVerification(isAsked)
  if (!isAsked || verification.isLoading)
    return (
      <Button icon="check" busy={isAsked} onClick={() => setAsked(true)}>
        {t('audit.verify')}
      </Button>
    )
  if (verification.data === undefined) return <Failure error={verification.error} />
  const { ok, checked, problem, head, anchor } = verification.data
  return (
    <>
      {ok ? (
        <Status tone="ok" wraps>
          {t('audit.verified', { count: checked, hash: shortened(head.hash) })}
        </Status>
      ) : (
        <Status tone="bad" wraps>
          {t('audit.broken', { seq: problem?.seq ?? 0, message: problem?.message ?? '' })}
        </Status>
      )}
      {anchor !== undefined && (
        <Status tone="neutral" wraps>
          {t('audit.anchor', { seq: anchor.seq, hash: shortened(anchor.hash) })}
        </Status>
      )}
    </>
  )
}

function shortened(hash: string): string {
  return hash.slice(0, 12)
}
