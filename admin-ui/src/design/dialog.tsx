/**
 * A dialog: focus goes in and comes back, Escape closes, and closing with unsaved input asks first.
 * `wide` for reviews with two columns.
 */
import * as Radix from '@radix-ui/react-dialog'
import { type ReactNode, useState } from 'react'
import { useText } from '../text/text.tsx'
import { Button, IconButton } from './button.tsx'
import styles from './dialog.module.css'
import { useStaying } from './staying.ts'

export function Dialog(props: {
  readonly open: boolean
  readonly title: string
  readonly description?: string
  /** Left and right of the bottom line; the last button is the one that acts. */
  readonly footer?: ReactNode
  readonly wide?: boolean
  /** There is input that would be lost. */
  readonly unsaved?: boolean
  readonly onClose: () => void
  readonly children: ReactNode
}) {
  const {
    open,
    title,
    description,
    footer,
    wide = false,
    unsaved = false,
    onClose,
    children,
  } = props
  const { t } = useText()
  const [isAsking, setAsking] = useState(false)
  const tryClose = (): void => {
    if (unsaved && !isAsking) setAsking(true)
    else {
      setAsking(false)
      onClose()
    }
  }
  useStaying(open && unsaved, () => setAsking(true))
  return (
    <Radix.Root open={open} onOpenChange={(next) => !next && tryClose()}>
      <Radix.Portal>
        <Radix.Overlay className={styles.overlay} />
        <Radix.Content
          className={`${styles.dialog} ${wide ? styles.wide : ''}`}
          {...(description === undefined ? { 'aria-describedby': undefined } : {})}
          // Unless a field took the focus: not to the close button, whose tooltip would open.
          onOpenAutoFocus={(event) => {
            event.preventDefault()
            if (event.currentTarget instanceof HTMLElement) event.currentTarget.focus()
          }}
          onInteractOutside={(event) => event.preventDefault()}
        >
          <header className={styles.header}>
            <div>
              <Radix.Title className={styles.title}>{title}</Radix.Title>
              {description !== undefined && (
                <Radix.Description className={styles.description}>{description}</Radix.Description>
              )}
            </div>
            <IconButton icon="close" label={t('action.close')} onClick={tryClose} />
          </header>
          {isAsking && (
            <div className={styles.ask} role="alertdialog" aria-label={t('dialog.unsaved')}>
              <p>{t('dialog.unsaved')}</p>
              <Button onClick={() => setAsking(false)}>{t('dialog.keepEditing')}</Button>
              <Button look="danger" onClick={tryClose}>
                {t('dialog.discard')}
              </Button>
            </div>
          )}
          <div className={styles.body}>{children}</div>
          {footer !== undefined && <footer className={styles.footer}>{footer}</footer>}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}
