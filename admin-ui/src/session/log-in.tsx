/** The page of somebody who is not logged in. */
import { useSession } from '../api/session.tsx'
import { Icon } from '../design/icon.tsx'
import { useText } from '../text/text.tsx'
import { LogInForm } from './log-in-form.tsx'
import styles from './log-in.module.css'

export function LogIn() {
  const { t } = useText()
  const { info } = useSession()
  return (
    <main className={styles.page}>
      <div className={styles.box}>
        <h1 className={styles.title}>
          <Icon name="gateways" size={22} />
          MetaProxy
        </h1>
        <p className={styles.words}>{t('logIn.words', { gateway: info.gateway })}</p>
        <LogInForm />
      </div>
    </main>
  )
}
