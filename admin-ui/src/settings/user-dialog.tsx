/** Making a user, or changing what they may do; a password is set here and shown nowhere. */
import type { Grant, User, UserEdit } from '../../../gateway/admin/api/access.ts'
import { userPath } from '../api/queries.ts'
import {
  type Entry,
  EntryDialog,
  errorOf,
  type FieldErrors,
  type Version,
} from '../changes/entry-dialog.tsx'
import { control, Field, Form } from '../design/field.tsx'
import { useText } from '../text/text.tsx'
import { GrantsEditor } from './grants.tsx'
import styles from './settings.module.css'

const PASSWORD_MIN = 10

interface UserDraft {
  readonly name: string
  readonly displayName: string
  readonly password: string
  readonly grants: readonly Grant[]
  readonly disabled: boolean
}

function editOf({ displayName, password, grants, disabled }: UserDraft): UserEdit {
  return {
    grants: [...grants],
    disabled,
    ...(displayName.trim() === '' ? {} : { displayName: displayName.trim() }),
    ...(password === '' ? {} : { password }),
  }
}

function versionOf(found: unknown): Version<UserDraft> {
  const { name, displayName = '', grants, disabled, etag } = found as User
  return { draft: { name, displayName, password: '', grants, disabled }, etag }
}

const entry: Entry<UserDraft> = {
  empty: { name: '', displayName: '', password: '', grants: [{ role: 'viewer' }], disabled: false },
  nameOf: ({ name }) => name,
  pathOf: userPath,
  bodyOf: editOf,
  textOf: ({ password, ...draft }) =>
    JSON.stringify(
      { ...editOf({ ...draft, password: '' }), ...(password === '' ? {} : { password: '•••' }) },
      null,
      2,
    ),
  versionOf,
  touches: ['users'],
  mayUndo: false,
  isUnchecked: true,
}

export function UserDialog(props: {
  readonly user?: User | undefined
  readonly onClose: () => void
}) {
  const { t } = useText()
  const { user, onClose } = props
  const isNew = user === undefined
  return (
    <EntryDialog
      entry={entry}
      titleNew={t('users.new')}
      base={isNew ? undefined : versionOf(user)}
      form={(draft, onChange, errors) => (
        <UserForm draft={draft} isNew={isNew} errors={errors} onChange={onChange} />
      )}
      lacks={({ name, password }) =>
        name.trim() === '' || (isNew && password === '')
          ? t('users.incomplete')
          : password !== '' && password.length < PASSWORD_MIN
            ? t('users.passwordShort', { count: PASSWORD_MIN })
            : undefined
      }
      onClose={onClose}
    />
  )
}

function UserForm(props: {
  readonly draft: UserDraft
  readonly isNew: boolean
  readonly errors: FieldErrors
  readonly onChange: (draft: UserDraft) => void
}) {
  const { draft, isNew, errors, onChange } = props
  const { t } = useText()
  const set = (values: Partial<UserDraft>): void => onChange({ ...draft, ...values })
  return (
    <Form>
      {isNew && (
        <Field label={t('users.name')} error={errorOf(errors, 'name')}>
          {(ids) => (
            <input
              {...ids}
              className={control}
              autoFocus
              autoComplete="off"
              spellCheck={false}
              value={draft.name}
              onChange={({ target }) => set({ name: target.value })}
            />
          )}
        </Field>
      )}
      <Field label={t('users.displayName')} error={errorOf(errors, 'displayName')}>
        {(ids) => (
          <input
            {...ids}
            className={control}
            autoComplete="off"
            value={draft.displayName}
            onChange={({ target }) => set({ displayName: target.value })}
          />
        )}
      </Field>
      <Field
        label={t(isNew ? 'logIn.password' : 'users.newPassword')}
        hint={t(isNew ? 'users.passwordHint' : 'users.newPasswordHint', { count: PASSWORD_MIN })}
        error={errorOf(errors, 'password')}
      >
        {(ids) => (
          <input
            {...ids}
            className={control}
            type="password"
            autoComplete="new-password"
            value={draft.password}
            onChange={({ target }) => set({ password: target.value })}
          />
        )}
      </Field>
      <GrantsEditor
        grants={draft.grants}
        error={errorOf(errors, 'grants')}
        onChange={(grants) => set({ grants })}
      />
      <label className={styles.choice}>
        <input
          type="checkbox"
          checked={draft.disabled}
          onChange={({ target }) => set({ disabled: target.checked })}
        />
        <span>{t('users.disable')}</span>
      </label>
    </Form>
  )
}
