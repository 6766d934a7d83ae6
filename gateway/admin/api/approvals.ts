/**
 * Changes that wait for a second person (gateway.md X-5, four eyes). With `approval.bulkAbove: N` a
 * request that would change more than N mappings, `POST /tables:batch` or `/tables:apply`, is answered
 * with 202 and an `Approval`; nothing has changed then. The limit is for each request.
 *
 *     GET  /approvals               → ApprovalList, newest first: those that wait, and decided ones
 *     GET  /approvals/{id}          → ApprovalDetail: every change, and what became of it
 *     POST /approvals/{id}:approve  → ApprovalDetail; carries it out
 *     POST /approvals/{id}:reject   → Approval
 *     POST /approvals/{id}:withdraw → Approval; by who asked for it
 *
 * Whoever might make every one of the changes alone may approve or reject them, but not who asked for
 * them. A token is the person who made it, and equal names are one person however they log in. The
 * author's rights count when it is asked for, those of who approves at every mapping that is changed.
 * What is carried out is what was asked for, byte for byte; a mapping that has changed since then is
 * skipped and listed.
 *
 * A change waits for a day, and is shown for a day after its decision. One that stays in `applying`
 * without progress was left by a gateway that went away: another one goes on with it within ten minutes,
 * or at once when it is approved again. What was done is not done twice.
 */
import { type Static, Type } from 'typebox'
import { ChangeItem } from './changes.ts'
import { ChangeAuthor } from './problem.ts'
import { Freshness } from './requests.ts'

export const approvalStates = [
  'pending',
  'applying',
  'applied',
  'rejected',
  'withdrawn',
  'expired',
] as const
export type ApprovalState = (typeof approvalStates)[number]

/** Of changes; `done`, `failed` and `skipped` add up to `total` at the end. */
export const ApprovalProgress = Type.Object({
  done: Type.Integer(),
  failed: Type.Integer(),
  skipped: Type.Integer(),
  total: Type.Integer(),
  /** When the last of them was settled. */
  at: Type.String({ format: 'date-time' }),
})

const facts = {
  id: Type.String(),
  state: Type.Unsafe<ApprovalState>(Type.Union(approvalStates.map((state) => Type.Literal(state)))),
  /** import, bulk-edit, replace-meta, adopt or batch. */
  origin: Type.String(),
  /** All or nothing. */
  atomic: Type.Boolean(),
  author: ChangeAuthor,
  /** The caller is the person who asked for it. */
  mine: Type.Boolean(),
  /** `invalid` ones are not applied. */
  counts: Type.Object({
    create: Type.Integer(),
    change: Type.Integer(),
    delete: Type.Integer(),
    invalid: Type.Integer(),
  }),
  /** The registry entry that changes with the mappings. */
  registry: Type.Optional(
    Type.Object({ cluster: Type.String(), metas: Type.Array(Type.String()) }),
  ),
  /** Of a pending one: it expires then; of a decided one: it is forgotten. */
  until: Type.String({ format: 'date-time' }),
  /** Who approved, rejected or withdrew it. */
  decision: Type.Optional(ChangeAuthor),
  /** Since it was approved. */
  progress: Type.Optional(ApprovalProgress),
}

export const Approval = Type.Object(facts, { title: 'Approval' })
export type Approval = Static<typeof Approval>

export const ApprovalList = Type.Object(
  { approvals: Type.Array(Approval), pending: Type.Integer(), asOf: Freshness },
  { title: 'ApprovalList' },
)
export type ApprovalList = Static<typeof ApprovalList>

/** `status` and `why`: what became of it; absent before. */
export const ApprovalItem = Type.Object(
  {
    ...ChangeItem.properties,
    status: Type.Optional(
      Type.Union([Type.Literal('done'), Type.Literal('failed'), Type.Literal('skipped')]),
    ),
    why: Type.Optional(Type.String()),
  },
  { title: 'ApprovalItem' },
)
export type ApprovalItem = Static<typeof ApprovalItem>

export const ApprovalDetail = Type.Object(
  { ...facts, items: Type.Array(ApprovalItem) },
  { title: 'ApprovalDetail' },
)
export type ApprovalDetail = Static<typeof ApprovalDetail>
