/** Who may log in with a password here, and what they may do. */
import { useState } from 'react'
import type { User } from '../../../gateway/admin/api/access.ts'
import { userPath, useUsers } from '../api/queries.ts'
import { useMayNot } from '../app/may-not.ts'
import { RemoveDialog } from '../changes/remove-dialog.tsx'
import { Ago } from '../design/age.tsx'
import { Button, IconButton } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { type Text, useText } from '../text/text.tsx'
import { Grants } from './grants.tsx'
import styles from './settings.module.css'
import { UserDialog } from './user-dialog.tsx'

type Open =
  { readonly kind: 'edit'; readonly user?: User } | { readonly kind: 'remove'; readonly user: User }

export function UsersTab() {
  const text = useText()
  const { t } = text
  const mayNot = useMayNot('users.edit')
  const users = useUsers()
  const [open, setOpen] = useState<Open>()
  const close = (): void => setOpen(undefined)
  const make = (
    <Button icon="plus" reason={mayNot} onClick={() => setOpen({ kind: 'edit' })}>
      {t('users.new')}
    </Button>
  )
  return (
    <>
      <Card title={t('settings.users')} aside={make} flush>
        <Loaded query={users}>
          {({ users: rows }) =>
            rows.length === 0 ? (
              <Empty icon="user" title={t('users.none')}>
                {t('users.noneWords')}
              </Empty>
            ) : (
              <DataTable
                label={t('settings.users')}
                rows={rows}
                rowKey={({ name }) => name}
                columns={columnsOf(text, mayNot, setOpen)}
              />
            )
          }
        </Loaded>
      </Card>
      {open?.kind === 'edit' && <UserDialog user={open.user} onClose={close} />}
      {open?.kind === 'remove' && (
        <RemoveDialog
          removal={{
            name: open.user.name,
            path: userPath(open.user.name),
            etag: open.user.etag,
            title: t('users.removeTitle', { name: open.user.name }),
            words: t('users.removeWords'),
            verb: t('users.removeButton', { name: open.user.name }),
            done: t('users.removed', { name: open.user.name }),
            touches: ['users'],
          }}
          onClose={close}
        />
      )}
    </>
  )
}

function columnsOf(
  { t }: Text,
  mayNot: string | undefined,
  open: (what: Open) => void,
): Column<User>[] {
  return [
    {
      key: 'name',
      header: t('users.name'),
      cell: ({ name, displayName }) => (
        <>
          <strong>{name}</strong>
          {displayName !== undefined && <div className={styles.about}>{displayName}</div>}
        </>
      ),
    },
    { key: 'grants', header: t('grants.title'), cell: ({ grants }) => <Grants grants={grants} /> },
    {
      key: 'state',
      header: t('tables.state'),
      minor: true,
      cell: ({ disabled }) =>
        disabled ? (
          <Status tone="neutral" icon="lock">
            {t('users.disabled')}
          </Status>
        ) : (
          <Status tone="ok">{t('users.active')}</Status>
        ),
    },
    {
      key: 'changed',
      header: t('tables.changed'),
      minor: true,
      cell: ({ modifiedAt }) => <Ago at={modifiedAt} />,
    },
    {
      key: 'actions',
      narrow: true,
      header: <span className="only-heard">{t('table.more')}</span>,
      align: 'end',
      cell: (user) => (
        <>
          <IconButton
            icon="edit"
            label={t('edit.title', { name: user.name })}
            reason={mayNot}
            onClick={() => open({ kind: 'edit', user })}
          />
          <IconButton
            icon="trash"
            label={t('users.removeButton', { name: user.name })}
            reason={mayNot}
            onClick={() => open({ kind: 'remove', user })}
          />
        </>
      ),
    },
  ]
}
