/** Routes of the fleet and the overview (`api/gateways.ts`). */
import { Type } from 'typebox'
import { Gateway, GatewayDetail, GatewayList, Overview } from './api/gateways.ts'
import { ChangeHeaders, NameParams, NoQuery } from './api/requests.ts'
import { gatewayDetail } from './fleet-views.ts'
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
import { demand } from './rights.ts'
import type { Services } from './services.ts'

export function gatewayRoutes(api: Api, services: Services): void {
  const { fleet, requests, reasonRequired } = services

  api.get(
    '/gateways',
    { schema: { tags: ['gateways'], response: answers({ 200: GatewayList }) } },
    () => fleet.list(),
  )

  api.get(
    '/gateways/:name',
    {
      schema: {
        tags: ['gateways'],
        summary: 'One gateway: its last errors and its configuration, as it says itself',
        params: NameParams,
        response: answers({ 200: GatewayDetail }),
      },
    },
    async (request) => {
      const gateway = await fleet.get(request.params.name)
      const question = { kind: 'gateway', gateway: gateway.id } as const
      return gatewayDetail(await services.asker.ask(question), gateway)
    },
  )

  for (const [verb, summary] of [
    ['drain', 'Not ready from now on; its connections end, spread over its drain time'],
    ['resume', 'Ready again'],
  ] as const)
    api.post(
      `/gateways/:name/::${verb}`,
      {
        schema: {
          tags: ['gateways'],
          summary,
          params: NameParams,
          querystring: NoQuery,
          headers: ChangeHeaders,
          response: answers({ 200: Gateway }),
        },
      },
      async (request, reply) => {
        demand(callerOf(request), 'gateways.drain')
        const author = authorOf(request, reasonRequired)
        const act = async (): Promise<Answer> => ({
          status: 200,
          body: await fleet.wishDrain(author, request.params.name, verb === 'drain'),
        })
        return send(reply, await once(requests, request, sameAgain, act))
      },
    )

  api.get(
    '/overview',
    {
      schema: {
        tags: ['gateways'],
        summary: 'Counts for the first page',
        querystring: Type.Object({}, { additionalProperties: false }),
        response: answers({ 200: Overview }),
      },
    },
    () => services.overview(),
  )
}
