/** Puts a text on the clipboard, and says so. */
import { useState } from 'react'
import { useText } from '../text/text.tsx'
import { Button } from './button.tsx'

export function CopyButton({ text }: { readonly text: string }) {
  const { t } = useText()
  const [isDone, setDone] = useState(false)
  return (
    <Button
      icon={isDone ? 'check' : 'copy'}
      onClick={() => {
        void navigator.clipboard.writeText(text).then(() => setDone(true))
      }}
    >
      {isDone ? t('action.copied') : t('action.copy')}
    </Button>
  )
}
