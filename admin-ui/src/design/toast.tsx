/** Short news at the corner: a success with *Undo*, a failure that is asserted. Bounded in number. */
import {
  createContext,
  type ReactNode,
  useCallback,
  useContext,
  useMemo,
  useRef,
  useState,
} from 'react'
import { useText } from '../text/text.tsx'
import { Button, IconButton } from './button.tsx'
import { Icon } from './icon.tsx'
import type { Tone } from './status.tsx'
import styles from './toast.module.css'

export interface Toast {
  readonly tone: Extract<Tone, 'ok' | 'bad' | 'info'>
  readonly text: string
  readonly action?: { readonly label: string; readonly run: () => void }
  /** 0: until it is closed. */
  readonly forMs?: number
}

interface Shown extends Toast {
  readonly id: number
}

const SHOWN_MAX = 4
const SHOWN_MS = 6000

const Context = createContext<((toast: Toast) => void) | undefined>(undefined)

export function ToastProvider({ children }: { readonly children: ReactNode }) {
  const { t } = useText()
  const [shown, setShown] = useState<readonly Shown[]>([])
  const next = useRef(0)
  const remove = useCallback((id: number) => {
    setShown((toasts) => toasts.filter((toast) => toast.id !== id))
  }, [])
  const show = useCallback(
    (toast: Toast) => {
      const id = next.current++
      setShown((toasts) => [...toasts, { ...toast, id }].slice(-SHOWN_MAX))
      const forMs = toast.forMs ?? SHOWN_MS
      if (forMs > 0) setTimeout(() => remove(id), forMs)
    },
    [remove],
  )
  const value = useMemo(() => show, [show])
  return (
    <Context.Provider value={value}>
      {children}
      <div className={styles.area} role="region" aria-label={t('toast.area')}>
        {shown.map((toast) => (
          <div
            key={toast.id}
            className={`${styles.toast} ${styles[toast.tone]}`}
            role={toast.tone === 'bad' ? 'alert' : 'status'}
          >
            <Icon name={toast.tone === 'ok' ? 'check' : toast.tone === 'bad' ? 'error' : 'info'} />
            <span className={styles.text}>{toast.text}</span>
            {toast.action !== undefined && (
              <Button
                onClick={() => {
                  remove(toast.id)
                  toast.action?.run()
                }}
              >
                {toast.action.label}
              </Button>
            )}
            <IconButton icon="close" label={t('action.close')} onClick={() => remove(toast.id)} />
          </div>
        ))}
      </div>
    </Context.Provider>
  )
}

export function useToast(): (toast: Toast) => void {
  const show = useContext(Context)
  if (show === undefined) throw new Error('useToast outside of ToastProvider')
  return show
}
