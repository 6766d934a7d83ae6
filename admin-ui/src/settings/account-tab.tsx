/** Who one is here, what one may do, and one's own password. */
import { useMutation } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import type { PasswordChange } from '../../../gateway/admin/api/access.ts'
import { ApiProblem, call } from '../api/http.ts'
import { useSession } from '../api/session.tsx'
import { errorOf, fieldErrors } from '../changes/entry-dialog.tsx'
import { Ago } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { Columns, Fact, Facts } from '../design/facts.tsx'
import { control, Field, Form } from '../design/field.tsx'
import { Failure } from '../design/state.tsx'
import { useToast } from '../design/toast.tsx'
import { useText } from '../text/text.tsx'
import { Grants } from './grants.tsx'

export function AccountTab() {
  const { t } = useText()
  const { me } = useSession().info
  if (me === undefined) return null
  return (
    <Columns>
      <Card title={t('settings.account')}>
        <Facts>
          <Fact label={t('users.name')}>{me.name}</Fact>
          <Fact label={t('account.via')}>{me.via}</Fact>
          <Fact label={t('grants.title')}>
            <Grants grants={me.grants} />
          </Fact>
          {me.expiresAt !== undefined && (
            <Fact label={t('account.ends')}>
              <Ago at={me.expiresAt} />
            </Fact>
          )}
        </Facts>
      </Card>
      {me.via === 'local' && <Password />}
    </Columns>
  )
}

function Password() {
  const { t } = useText()
  const toast = useToast()
  const [old, setOld] = useState('')
  const [next, setNext] = useState('')
  const change = useMutation({
    mutationFn: () => {
      const body: PasswordChange = { old, new: next }
      return call('/me/password', { method: 'PUT', body })
    },
    onSuccess: () => {
      setOld('')
      setNext('')
      toast({ tone: 'ok', text: t('account.passwordChanged') })
    },
  })
  const errors = fieldErrors(change.error)
  const isRefused = change.error instanceof ApiProblem && change.error.code === 'bad-credentials'
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    if (old !== '' && next !== '' && !change.isPending) change.mutate()
  }
  return (
    <Card title={t('account.password')}>
      <form onSubmit={submit}>
        <Form>
          {change.isError && !isRefused && Object.keys(errors).length === 0 && (
            <Failure error={change.error} />
          )}
          <Field
            label={t('account.old')}
            error={isRefused ? t('account.oldWrong') : errorOf(errors, 'old')}
          >
            {(ids) => (
              <input
                {...ids}
                className={control}
                type="password"
                autoComplete="current-password"
                value={old}
                onChange={({ target }) => setOld(target.value)}
              />
            )}
          </Field>
          <Field
            label={t('users.newPassword')}
            hint={t('users.passwordHint', { count: 10 })}
            error={errorOf(errors, 'new')}
          >
            {(ids) => (
              <input
                {...ids}
                className={control}
                type="password"
                autoComplete="new-password"
                minLength={10}
                value={next}
                onChange={({ target }) => setNext(target.value)}
              />
            )}
          </Field>
          <div>
            <Button
              type="submit"
              look="primary"
              busy={change.isPending}
              reason={old === '' || next === '' ? t('account.incomplete') : undefined}
            >
              {t('account.change')}
            </Button>
          </div>
        </Form>
      </form>
    </Card>
  )
}
