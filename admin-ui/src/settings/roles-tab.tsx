/** What each role may do, and whether somebody may do something: judged as the API judges it. */
import { useState } from 'react'
import type { Grant } from '../../../gateway/admin/api/access.ts'
import { type Right, type Role, rightsOf, roles } from '../../../gateway/admin/api/roles.ts'
import { allows } from '../../../gateway/admin/grants.ts'
import { useUsers } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { control, Field } from '../design/field.tsx'
import { Icon } from '../design/icon.tsx'
import { Status } from '../design/status.tsx'
import { type Text, type TextKey, useText } from '../text/text.tsx'
import { Grants } from './grants.tsx'
import styles from './settings.module.css'

const rights = {
  read: 'rights.read',
  'tables.edit': 'rights.tables',
  'groups.edit': 'rights.groups',
  'clusters.edit': 'rights.clusters',
  'gateways.drain': 'rights.gateways',
  'users.edit': 'rights.users',
} as const satisfies Readonly<Record<Right, TextKey>>
const rightNames = Object.keys(rights) as Right[]

export function RolesTab() {
  const text = useText()
  const { t } = text
  const { may } = useSession()
  return (
    <div className={styles.stack}>
      <Card title={t('roles.matrix')} flush>
        <DataTable
          label={t('roles.matrix')}
          rows={rightNames}
          rowKey={(right) => right}
          columns={columnsOf(text)}
        />
      </Card>
      {may('users.edit') ? <UsersPreview /> : <Preview people={[]} />}
    </div>
  )
}

function columnsOf({ t }: Text): Column<Right>[] {
  return [
    {
      key: 'right',
      header: t('roles.right'),
      cell: (right) => (
        <>
          {t(rights[right])} <span className={styles.about}>{right}</span>
        </>
      ),
    },
    ...roles.map((role) => ({
      key: role,
      header: role,
      cell: (right: Right) => <Has role={role} right={right} />,
    })),
  ]
}

function Has({ role, right }: { readonly role: Role; readonly right: Right }) {
  const { t } = useText()
  const has: readonly Right[] = rightsOf[role]
  return has.includes(right) ? (
    <>
      <Icon name="check" />
      <span className="only-heard">{t('roles.yes')}</span>
    </>
  ) : (
    <>
      <span aria-hidden="true">–</span>
      <span className="only-heard">{t('roles.no')}</span>
    </>
  )
}

interface Person {
  readonly name: string
  readonly grants: readonly Grant[]
}

function UsersPreview() {
  return <Preview people={useUsers().data?.users ?? []} />
}

/** "May Anna edit the tables of group pay?" */
function Preview({ people }: { readonly people: readonly Person[] }) {
  const { t } = useText()
  const { info } = useSession()
  const me: Person = { name: info.me?.name ?? '', grants: info.me?.grants ?? [] }
  const all = [me, ...people.filter(({ name }) => name !== me.name)]
  const [who, setWho] = useState(me.name)
  const [right, setRight] = useState<Right>('tables.edit')
  const [cluster, setCluster] = useState('')
  const [group, setGroup] = useState('')
  const person = all.find(({ name }) => name === who) ?? me
  const isAllowed = allows(person.grants, right, {
    ...(cluster === '' ? {} : { cluster }),
    groups: group === '' ? [] : [group],
  })
  const text = (label: string, value: string, set: (value: string) => void) => (
    <Field label={label}>
      {(ids) => (
        <input
          {...ids}
          className={control}
          spellCheck={false}
          value={value}
          onChange={({ target }) => set(target.value)}
        />
      )}
    </Field>
  )
  return (
    <Card title={t('roles.preview')}>
      <div className={styles.question}>
        <Field label={t('roles.who')}>
          {(ids) => (
            <select
              {...ids}
              className={control}
              value={person.name}
              onChange={({ target }) => setWho(target.value)}
            >
              {all.map(({ name }) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          )}
        </Field>
        <Field label={t('roles.what')}>
          {(ids) => (
            <select
              {...ids}
              className={control}
              value={right}
              onChange={({ target }) =>
                setRight(rightNames.find((one) => one === target.value) ?? 'read')
              }
            >
              {rightNames.map((one) => (
                <option key={one} value={one}>
                  {t(rights[one])}
                </option>
              ))}
            </select>
          )}
        </Field>
        {text(t('roles.onCluster'), cluster, setCluster)}
        {text(t('roles.inGroup'), group, setGroup)}
      </div>
      <div className={styles.answer} role="status">
        <Status tone={isAllowed ? 'ok' : 'bad'}>
          {t(isAllowed ? 'roles.may' : 'roles.mayNot')}
        </Status>
        <Grants grants={person.grants} />
      </div>
    </Card>
  )
}
