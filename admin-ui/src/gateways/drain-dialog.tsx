/** Draining a gateway, or taking that back: what follows is said, and nothing happens by one click. */
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import type { Gateway } from '../../../gateway/admin/api/gateways.ts'
import { call } from '../api/http.ts'
import { gatewayPath } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { useMayNot } from '../app/may-not.ts'
import { ReasonField } from '../changes/entry-dialog.tsx'
import { Button } from '../design/button.tsx'
import { Dialog } from '../design/dialog.tsx'
import { Form } from '../design/field.tsx'
import { Failure } from '../design/state.tsx'
import { useToast } from '../design/toast.tsx'
import { useText } from '../text/text.tsx'

export function DrainDialog(props: { readonly gateway: Gateway; readonly onClose: () => void }) {
  const { gateway, onClose } = props
  const { t } = useText()
  const { info } = useSession()
  const mayNot = useMayNot('gateways.drain')
  const queries = useQueryClient()
  const toast = useToast()
  const [reason, setReason] = useState('')
  // As it was when the dialog opened: what is confirmed does not change under the button.
  const [isDrain] = useState(gateway.drain === undefined)
  const { id, connections } = gateway
  const act = useMutation({
    mutationFn: () =>
      call<Gateway>(`${gatewayPath(id)}:${isDrain ? 'drain' : 'resume'}`, {
        method: 'POST',
        reason,
      }),
    onSuccess: () => {
      for (const word of ['gateways', 'gateway', 'overview', 'audit'])
        void queries.invalidateQueries({ queryKey: [word] })
      toast({ tone: 'ok', text: t(isDrain ? 'gateway.drained' : 'gateway.resumed', { id }) })
      onClose()
    },
  })
  return (
    <Dialog
      open
      title={t(isDrain ? 'gateway.drainTitle' : 'gateway.resumeTitle', { id })}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button
            look={isDrain ? 'danger' : 'primary'}
            icon={isDrain ? 'drain' : 'undo'}
            busy={act.isPending}
            reason={info.reasonRequired && reason.trim() === '' ? t('edit.reasonNeeded') : mayNot}
            onClick={() => act.mutate()}
          >
            {t(isDrain ? 'gateway.drainButton' : 'gateway.resumeButton', { id })}
          </Button>
        </>
      }
    >
      <Form>
        {act.isError && <Failure error={act.error} />}
        <p>
          {isDrain ? t('gateway.drainWords', { count: connections }) : t('gateway.resumeWords')}
        </p>
        <ReasonField value={reason} onChange={setReason} />
      </Form>
    </Dialog>
  )
}
