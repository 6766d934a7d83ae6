/** Grants, shown in words and edited as rows: a role, on clusters and groups by pattern. */
import type { Grant } from '../../../gateway/admin/api/access.ts'
import { type Role, roles } from '../../../gateway/admin/api/roles.ts'
import { Button, IconButton } from '../design/button.tsx'
import { control } from '../design/field.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'
import styles from './settings.module.css'

export function Grants({ grants }: { readonly grants: readonly Grant[] }) {
  const { t } = useText()
  if (grants.length === 0) return <>{t('grants.none')}</>
  return (
    <ul className={styles.grants}>
      {grants.map(({ role, cluster, group }, index) => (
        <li key={index}>
          <Status tone="neutral" icon="user">
            {role}
          </Status>
          {cluster !== undefined && (
            <span>
              {t('grants.onClusters')} <code>{cluster}</code>
            </span>
          )}
          {group !== undefined && (
            <span>
              {t('grants.onGroups')} <code>{group}</code>
            </span>
          )}
        </li>
      ))}
    </ul>
  )
}

export function GrantsEditor(props: {
  readonly grants: readonly Grant[]
  readonly error: string | undefined
  readonly onChange: (grants: readonly Grant[]) => void
}) {
  const { grants, error, onChange } = props
  const { t } = useText()
  const set = (at: number, grant: Grant): void =>
    onChange(grants.map((one, index) => (index === at ? grant : one)))
  return (
    <fieldset className={styles.editor}>
      <legend>{t('grants.title')}</legend>
      <p className={styles.hint}>{t('grants.hint')}</p>
      {grants.map((grant, at) => (
        <div key={at} className={styles.grant}>
          <select
            className={control}
            aria-label={t('grants.role')}
            value={grant.role}
            onChange={({ target }) =>
              set(at, { ...grant, role: roles.find((role) => role === target.value) ?? 'viewer' })
            }
          >
            {roles.map((role) => (
              <option key={role}>{role}</option>
            ))}
          </select>
          <Pattern
            label={t('grants.clusters')}
            value={grant.cluster}
            onChange={(cluster) => set(at, withPattern(grant, 'cluster', cluster))}
          />
          <Pattern
            label={t('grants.groups')}
            value={grant.group}
            onChange={(group) => set(at, withPattern(grant, 'group', group))}
          />
          <IconButton
            icon="close"
            label={t('grants.remove', { number: at + 1 })}
            onClick={() => onChange(grants.filter((_, index) => index !== at))}
          />
        </div>
      ))}
      {error !== undefined && (
        <p className={styles.error} role="alert">
          {error}
        </p>
      )}
      <div>
        <Button
          icon="plus"
          onClick={() => onChange([...grants, { role: 'viewer' satisfies Role }])}
        >
          {t('grants.add')}
        </Button>
      </div>
    </fieldset>
  )
}

/** A pattern left empty is any, and left out. */
function withPattern(grant: Grant, key: 'cluster' | 'group', pattern: string): Grant {
  const { [key]: _old, ...rest } = grant
  return pattern === '' ? rest : { ...rest, [key]: pattern }
}

function Pattern(props: {
  readonly label: string
  readonly value: string | undefined
  readonly onChange: (pattern: string) => void
}) {
  const { t } = useText()
  return (
    <input
      className={control}
      aria-label={props.label}
      placeholder={`${props.label}: ${t('grants.any')}`}
      spellCheck={false}
      value={props.value ?? ''}
      onChange={({ target }) => props.onChange(target.value)}
    />
  )
}
