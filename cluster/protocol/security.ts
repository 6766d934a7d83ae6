/** Negotiation (upstream idl/security.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import { type ValueOf, field, i32, struct } from './schema.ts'
import { blob } from './base.ts'

export const NegotiationStatus = {
  INVALID: 0,
  SASL_LIST_MECHANISMS: 1,
  SASL_LIST_MECHANISMS_RESP: 2,
  SASL_SELECT_MECHANISMS: 3,
  SASL_SELECT_MECHANISMS_RESP: 4,
  SASL_INITIATE: 5,
  SASL_CHALLENGE: 6,
  SASL_CHALLENGE_RESP: 7,
  SASL_SUCC: 8,
  SASL_AUTH_DISABLE: 9,
  SASL_AUTH_FAIL: 10,
} as const

export const NegotiationRequest = struct('negotiation_request', {
  status: field(1, i32),
  msg: field(2, blob),
})
export type NegotiationRequest = ValueOf<typeof NegotiationRequest>

export const NegotiationResponse = struct('negotiation_response', {
  status: field(1, i32),
  msg: field(2, blob),
})
export type NegotiationResponse = ValueOf<typeof NegotiationResponse>
