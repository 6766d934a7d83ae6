/** Routes of changes that wait for a second person (`api/approvals.ts`). */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Approval, ApprovalDetail, ApprovalList } from './api/approvals.ts'
import { ChangeHeaders, NameParams, NoQuery } from './api/requests.ts'
import { jsonPieces } from './json-pieces.ts'
import type { Author } from './journal.ts'
import {
  type Answer,
  type Api,
  answers,
  authorOf,
  callerOf,
  once,
  sameAgain,
  send,
} from './requests.ts'
import type { Caller } from './rights.ts'
import type { Services } from './services.ts'

const ITEMS_KEPT_MAX = 1000
const tags = ['approvals']

export function approvalRoutes(api: Api, services: Services): void {
  const { approvals, requests, reasonRequired, runtime } = services
  const pause = (): Promise<void> =>
    new Promise((resolve) => {
      runtime.timers.soon(resolve)
    })
  /** A short one is kept for a repeated idempotency key. */
  const answerWith = (detail: ApprovalDetail): Answer => {
    const { items, ...facts } = detail
    if (items.length <= ITEMS_KEPT_MAX) return { status: 200, body: detail }
    return { status: 200, pieces: jsonPieces(facts, 'items', items, pause) }
  }
  const decision = { tags, params: NameParams, querystring: NoQuery, headers: ChangeHeaders }
  const decide = async (
    request: FastifyRequest,
    reply: FastifyReply,
    act: (caller: Caller, author: Author) => Promise<Answer>,
  ): Promise<FastifyReply> => {
    const author = authorOf(request, reasonRequired)
    const caller = callerOf(request)
    return send(reply, await once(requests, request, sameAgain, () => act(caller, author)))
  }

  api.get(
    '/approvals',
    {
      schema: {
        tags,
        summary: 'Changes that wait for a second person, and those decided within a day',
        querystring: NoQuery,
        response: answers({ 200: ApprovalList }),
      },
    },
    async (request) => approvals.list(callerOf(request)),
  )

  api.get(
    '/approvals/:name',
    {
      schema: {
        tags,
        summary: 'One of them, with every change and what became of it',
        params: NameParams,
        response: answers({ 200: ApprovalDetail }),
      },
    },
    async (request, reply) =>
      send(reply, answerWith(await approvals.detail(callerOf(request), request.params.name))),
  )

  api.post(
    '/approvals/:name/::approve',
    {
      schema: {
        ...decision,
        summary: 'Carry it out, as somebody else than who asked for it',
        response: answers({ 200: ApprovalDetail }),
      },
    },
    (request, reply) =>
      decide(request, reply, async (caller, author) =>
        answerWith(await approvals.approve(caller, author, request.params.name)),
      ),
  )

  api.post(
    '/approvals/:name/::reject',
    {
      schema: {
        ...decision,
        summary: 'Refuse it, as somebody else than who asked for it',
        response: answers({ 200: Approval }),
      },
    },
    (request, reply) =>
      decide(request, reply, async (caller, author) => ({
        status: 200,
        body: await approvals.reject(caller, author, request.params.name),
      })),
  )

  api.post(
    '/approvals/:name/::withdraw',
    {
      schema: {
        ...decision,
        summary: 'Take back what one asked for',
        response: answers({ 200: Approval }),
      },
    },
    (request, reply) =>
      decide(request, reply, async (caller, author) => ({
        status: 200,
        body: await approvals.withdraw(caller, author, request.params.name),
      })),
  )
}
