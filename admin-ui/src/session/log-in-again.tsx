/**
 * A session that ended, or ends soon: log in again above the page, which keeps everything that was
 * typed. What failed for the lack of a session can then be sent once more.
 */
import { useState } from 'react'
import { useSession } from '../api/session.tsx'
import { useNow } from '../design/age.tsx'
import { Button } from '../design/button.tsx'
import { Dialog } from '../design/dialog.tsx'
import { Icon } from '../design/icon.tsx'
import { useText } from '../text/text.tsx'
import { LogInForm } from './log-in-form.tsx'
import styles from './log-in.module.css'

const WARN_MS = 5 * 60_000

export function LogInAgain() {
  const { t, duration } = useText()
  const { info, hasEnded, readAgain } = useSession()
  const [isAsked, setAsked] = useState(false)
  const [isPutOff, setPutOff] = useState(false)
  const nowMs = useNow()
  const { me } = info
  const leftMs = me?.expiresAt === undefined ? Infinity : Date.parse(me.expiresAt) - nowMs
  if (!hasEnded && isPutOff) setPutOff(false)
  const isOpen = (hasEnded && !isPutOff) || isAsked
  if (isOpen)
    return (
      <Dialog
        open
        title={t(hasEnded ? 'session.ended' : 'session.logInAgain')}
        description={t('session.kept')}
        onClose={() => {
          setAsked(false)
          setPutOff(hasEnded)
        }}
      >
        <div className={styles.again}>
          <LogInForm name={me?.name ?? ''} staysOpen onDone={() => setAsked(false)} />
          {info.methods.oidc !== undefined && (
            <Button icon="refresh" onClick={() => void readAgain().then(() => setAsked(false))}>
              {t('session.didLogIn')}
            </Button>
          )}
        </div>
      </Dialog>
    )
  if (!hasEnded && leftMs > WARN_MS) return null
  return (
    <div className={styles.soon} role="status">
      <Icon name="clock" />
      <span>
        {hasEnded
          ? t('session.ended')
          : t('session.endsSoon', { time: duration(Math.max(0, leftMs)) })}
      </span>
      <Button
        onClick={() => {
          setAsked(true)
          setPutOff(false)
        }}
      >
        {t('session.logInAgain')}
      </Button>
    </div>
  )
}
