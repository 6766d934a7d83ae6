/** A change set that needs no form: asked for when the dialog opens, then reviewed and applied. */
import { useQuery } from '@tanstack/react-query'
import { useId } from 'react'
import type { ChangeSet } from '../../../gateway/admin/api/changes.ts'
import { call } from '../api/http.ts'
import { Button } from '../design/button.tsx'
import { Dialog } from '../design/dialog.tsx'
import { Loaded } from '../design/state.tsx'
import { useText } from '../text/text.tsx'
import { ChangeSetReview } from './change-set.tsx'

/** `path` and `body`: the request that answers the preview. */
export function ChangeSetDialog(props: {
  readonly title: string
  readonly path: string
  readonly body: unknown
  /** What is changed with the tables, in words. */
  readonly also?: string | undefined
  /** To the form that the request comes from; otherwise back closes. */
  readonly onBack?: () => void
  readonly onClose: () => void
}) {
  const { title, path, body, also, onClose, onBack = onClose } = props
  const { t } = useText()
  const id = useId()
  // A preview is kept by the gateway: one for each opening of the dialog, never read again.
  const preview = useQuery({
    queryKey: ['preview', id, path, body],
    queryFn: async ({ signal }) =>
      (await call<ChangeSet>(path, { method: 'POST', body, signal })).data,
    staleTime: Infinity,
    gcTime: 0,
    retry: false,
    refetchOnReconnect: false,
  })
  return (
    <Dialog
      open
      wide
      title={title}
      onClose={onClose}
      footer={preview.isError ? <Button onClick={onBack}>{t('edit.back')}</Button> : undefined}
    >
      <Loaded query={preview} lines={8}>
        {(changes) => (
          <ChangeSetReview changes={changes} also={also} onBack={onBack} onClose={onClose} />
        )}
      </Loaded>
    </Dialog>
  )
}
