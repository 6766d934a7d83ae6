/** Tokens for programs. The secret of a new one is shown once and kept nowhere. */
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import type { Grant, NewToken, Token, TokenRequest } from '../../../gateway/admin/api/access.ts'
import { call } from '../api/http.ts'
import { tokenPath, useTokens } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { useMayNot } from '../app/may-not.ts'
import { errorOf, fieldErrors } from '../changes/entry-dialog.tsx'
import { RemoveDialog } from '../changes/remove-dialog.tsx'
import { Ago } from '../design/age.tsx'
import { Button, IconButton } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { CopyButton } from '../design/copy-button.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Dialog } from '../design/dialog.tsx'
import { Muted } from '../design/facts.tsx'
import { control, Field, Form } from '../design/field.tsx'
import { Empty, Failure, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { type Text, useText } from '../text/text.tsx'
import { Grants, GrantsEditor } from './grants.tsx'
import styles from './settings.module.css'

export function TokensTab() {
  const text = useText()
  const { t } = text
  const mayNot = useMayNot()
  const tokens = useTokens()
  const [isMaking, setMaking] = useState(false)
  const [removed, setRemoved] = useState<Token>()
  return (
    <>
      <Card
        title={t('settings.tokens')}
        aside={
          <Button icon="plus" reason={mayNot} onClick={() => setMaking(true)}>
            {t('tokens.new')}
          </Button>
        }
        flush
      >
        <Loaded query={tokens}>
          {({ tokens: rows }) =>
            rows.length === 0 ? (
              <Empty icon="lock" title={t('tokens.none')}>
                {t('tokens.noneWords')}
              </Empty>
            ) : (
              <DataTable
                label={t('settings.tokens')}
                rows={rows}
                rowKey={({ id }) => id}
                columns={columnsOf(text, mayNot, setRemoved)}
              />
            )
          }
        </Loaded>
      </Card>
      {isMaking && <NewTokenDialog onClose={() => setMaking(false)} />}
      {removed !== undefined && (
        <RemoveDialog
          removal={{
            name: removed.name,
            path: tokenPath(removed.id),
            title: t('tokens.removeTitle', { name: removed.name }),
            words: t('tokens.removeWords'),
            verb: t('tokens.removeButton', { name: removed.name }),
            done: t('tokens.removed', { name: removed.name }),
            touches: ['tokens'],
          }}
          onClose={() => setRemoved(undefined)}
        />
      )}
    </>
  )
}

function columnsOf(
  { t }: Text,
  mayNot: string | undefined,
  remove: (token: Token) => void,
): Column<Token>[] {
  return [
    {
      key: 'name',
      header: t('tokens.name'),
      cell: ({ name, owner }) => (
        <>
          <strong>{name}</strong>
          <div className={styles.about}>{owner}</div>
        </>
      ),
    },
    { key: 'grants', header: t('grants.title'), cell: ({ grants }) => <Grants grants={grants} /> },
    {
      key: 'used',
      header: t('tokens.used'),
      minor: true,
      cell: ({ lastUsedAt }) =>
        lastUsedAt === undefined ? t('tokens.never') : <Ago at={lastUsedAt} />,
    },
    {
      key: 'ends',
      header: t('tokens.ends'),
      cell: ({ expiresAt }) =>
        expiresAt === undefined ? (
          <Status tone="neutral" icon="clock">
            {t('tokens.neverEnds')}
          </Status>
        ) : (
          <Ago at={expiresAt} />
        ),
    },
    {
      key: 'actions',
      narrow: true,
      header: <span className="only-heard">{t('table.more')}</span>,
      align: 'end',
      cell: (token) => (
        <IconButton
          icon="trash"
          label={t('tokens.removeButton', { name: token.name })}
          reason={mayNot}
          onClick={() => remove(token)}
        />
      ),
    },
  ]
}

function NewTokenDialog({ onClose }: { readonly onClose: () => void }) {
  const { t } = useText()
  const { info } = useSession()
  const mayNot = useMayNot()
  const queries = useQueryClient()
  const [name, setName] = useState('')
  const [days, setDays] = useState('90')
  const [grants, setGrants] = useState<readonly Grant[]>(info.me?.grants ?? [])
  const make = useMutation({
    mutationFn: async () => {
      const body: TokenRequest = {
        name: name.trim(),
        grants: [...grants],
        ...(days === '' ? {} : { days: Number(days) }),
      }
      return (await call<NewToken>('/tokens', { method: 'POST', body })).data
    },
    onSuccess: () => {
      void queries.invalidateQueries({ queryKey: ['tokens'] })
      void queries.invalidateQueries({ queryKey: ['audit'] })
    },
  })
  const errors = fieldErrors(make.error)
  if (make.data !== undefined)
    return (
      <Dialog
        open
        title={t('tokens.made', { name: make.data.token.name })}
        onClose={onClose}
        footer={
          <Button look="primary" onClick={onClose}>
            {t('tokens.kept')}
          </Button>
        }
      >
        <Form>
          <Muted>{t('tokens.madeWords')}</Muted>
          <div className={styles.secret}>
            <code>{make.data.secret}</code>
            <CopyButton text={make.data.secret} />
          </div>
        </Form>
      </Dialog>
    )
  return (
    <Dialog
      open
      title={t('tokens.new')}
      unsaved={name !== ''}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button
            look="primary"
            busy={make.isPending}
            reason={name.trim() === '' ? t('tokens.incomplete') : mayNot}
            onClick={() => make.mutate()}
          >
            {t('tokens.make')}
          </Button>
        </>
      }
    >
      <Form>
        {make.isError && Object.keys(errors).length === 0 && <Failure error={make.error} />}
        <Field label={t('tokens.name')} hint={t('tokens.nameHint')} error={errorOf(errors, 'name')}>
          {(ids) => (
            <input
              {...ids}
              className={control}
              autoFocus
              maxLength={100}
              value={name}
              onChange={({ target }) => setName(target.value)}
            />
          )}
        </Field>
        <Field label={t('tokens.days')} hint={t('tokens.daysHint')} error={errorOf(errors, 'days')}>
          {(ids) => (
            <input
              {...ids}
              className={control}
              type="number"
              min={1}
              max={3650}
              value={days}
              onChange={({ target }) => setDays(target.value)}
            />
          )}
        </Field>
        <GrantsEditor grants={grants} error={errorOf(errors, 'grants')} onChange={setGrants} />
      </Form>
    </Dialog>
  )
}
