/** Name and password, or the identity provider, as this gateway is configured. */
import { type FormEvent, useState } from 'react'
import { ApiProblem } from '../api/http.ts'
import { useSession } from '../api/session.tsx'
import { Button } from '../design/button.tsx'
import { control, Field } from '../design/field.tsx'
import { Failure } from '../design/state.tsx'
import { useText } from '../text/text.tsx'
import styles from './log-in.module.css'

export function LogInForm(props: {
  /** Whose name stands there already. */
  readonly name?: string
  /** The provider opens in another window, so that this page stays as it is. */
  readonly staysOpen?: boolean
  readonly onDone?: () => void
}) {
  const { t } = useText()
  const { info, logIn } = useSession()
  const [name, setName] = useState(props.name ?? '')
  const [password, setPassword] = useState('')
  const [error, setError] = useState<unknown>()
  const [isBusy, setBusy] = useState(false)
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    if (isBusy) return
    setBusy(true)
    setError(undefined)
    logIn(name, password)
      .then(() => props.onDone?.())
      .catch((failure: unknown) => {
        setError(failure)
        setPassword('')
      })
      .finally(() => setBusy(false))
  }
  const isRefused = error instanceof ApiProblem && error.code === 'bad-credentials'
  const { password: hasPassword, oidc } = info.methods
  return (
    <>
      {error !== undefined && !isRefused && <Failure error={error} />}
      {hasPassword && (
        <form className={styles.form} onSubmit={submit}>
          <Field label={t('logIn.name')}>
            {(ids) => (
              <input
                {...ids}
                className={control}
                autoComplete="username"
                autoFocus={name === ''}
                required
                value={name}
                onChange={({ target }) => setName(target.value)}
              />
            )}
          </Field>
          <Field label={t('logIn.password')} error={isRefused ? t('logIn.refused') : undefined}>
            {(ids) => (
              <input
                {...ids}
                className={control}
                type="password"
                autoComplete="current-password"
                autoFocus={name !== ''}
                required
                value={password}
                onChange={({ target }) => setPassword(target.value)}
              />
            )}
          </Field>
          <Button type="submit" look="primary" busy={isBusy}>
            {t('session.logIn')}
          </Button>
        </form>
      )}
      {oidc !== undefined && (
        <a
          className={styles.oidc}
          href={oidc.url}
          {...(props.staysOpen === true ? { target: '_blank', rel: 'opener' } : {})}
        >
          {oidc.label}
        </a>
      )}
    </>
  )
}
