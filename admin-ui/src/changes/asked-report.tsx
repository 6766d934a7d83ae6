/** After changes were asked for that a second person must approve: nothing is changed yet. */
import { Link } from 'wouter'
import type { Approval } from '../../../gateway/admin/api/approvals.ts'
import { approvalHref } from '../approvals/approval-words.tsx'
import { Button } from '../design/button.tsx'
import { Empty } from '../design/state.tsx'
import { useText } from '../text/text.tsx'
import styles from './change-set.module.css'

export function AskedReport(props: { readonly approval: Approval; readonly onClose: () => void }) {
  const { approval, onClose } = props
  const { t } = useText()
  return (
    <div className={styles.review}>
      <div role="status">
        <Empty
          icon="clock"
          title={t('approvals.asked')}
          action={<Link href={approvalHref(approval.id)}>{t('approvals.see')}</Link>}
        >
          {t('approvals.askedWords')}
        </Empty>
      </div>
      <div className={styles.actions}>
        <Button look="primary" onClick={onClose}>
          {t('action.close')}
        </Button>
      </div>
    </div>
  )
}
